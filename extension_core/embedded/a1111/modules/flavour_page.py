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
