"""What a request of this host has beyond what both have, what a generation returns, and which of it is shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from modules.processed import Processed


@dataclass(repr=False)
class RequestFields:
    """None."""


@dataclass(repr=False)
class HiresFields:
    """None."""


def of_request(p: Any, images: list[Any], **described: Any) -> Processed:
    return Processed(p, images, **described)


def shown(processed: Processed) -> list[Any]:
    """The gallery's pictures, and those that the API returns."""
    return processed.images


def process_extra_images(processed: Processed) -> None:
    """This host has none."""
