"""What a generation returns on this host, and which of it is shown."""

from __future__ import annotations

from typing import Any

from modules.processed import Processed


def of_request(p: Any, images: list[Any], **described: Any) -> Processed:
    return Processed(p, images, **described)


def shown(processed: Processed) -> list[Any]:
    """The gallery's pictures, and those that the API returns."""
    return processed.images


def process_extra_images(processed: Processed) -> None:
    """This host has none."""
    del processed


__all__ = ["Processed", "of_request", "process_extra_images", "shown"]
