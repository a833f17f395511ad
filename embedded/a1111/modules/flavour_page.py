"""What this host's page has beyond what both flavours have."""

from __future__ import annotations

from typing import Any

HIRES_FIELDS: tuple[str, ...] = ()
"""Fields of a request, in the order of `hires_inputs`."""


def hires_inputs() -> list[Any]:
    return []


def hires_paste_fields(inputs: list[Any]) -> list[Any]:
    del inputs
    return []


def top_of_page() -> tuple[str, ...]:
    """Builds what is above the tabs beside the quick settings; the settings that have their own component there."""
    return ()
