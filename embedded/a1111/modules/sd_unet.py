"""Replacements of the U-Net by other engines. There are none, so that the torch module runs; extensions look here."""

from __future__ import annotations

from typing import Any

unet_options: list[Any] = []
current_unet_option: Any = None
current_unet: Any = None


def apply_unet(option: str | None = None) -> None:
    """When a request begins."""
    del option
