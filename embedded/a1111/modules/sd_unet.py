"""Replacements of the U-Net by other engines: there are none here, so `current_unet` is always None and the torch
module runs.
"""

from __future__ import annotations

from typing import Any

unet_options: list[Any] = []
current_unet_option: Any = None
current_unet: Any = None
original_forward: Any = None


def list_unets() -> None:
    return None


def get_unet_option(option: str | None = None) -> Any:
    del option
    return None


def apply_unet(option: str | None = None) -> None:
    del option
