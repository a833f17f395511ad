"""Settings of this host beyond what both flavours have."""

from __future__ import annotations

from typing import Any


def register_options(options_templates: dict[str, Any]) -> None:
    """No settings of its own."""
