"""How large the hires pass works, and what of it is cut away so that the picture gets the size that was asked for."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

_FIRST_PASS_PIXELS = 512 * 512


@dataclass(frozen=True)
class HiresSize:
    """Pixels of the enlarged picture, pixels that are too many of them, and the infotext's entry."""

    width: int
    height: int
    surplus_x: int
    surplus_y: int
    note: tuple[str, Any]


def enlarged(width: int, height: int, factor: float) -> HiresSize:
    return HiresSize(int(width * factor), int(height * factor), 0, 0, ("Hires upscale", factor))


def resized(width: int, height: int, to_x: int, to_y: int) -> HiresSize:
    """Keeps the shape of width x height. 0 leaves a side free; of two sides one fits and the other is cut."""
    note = ("Hires resize", f"{to_x}x{to_y}")
    fits_width = to_x != 0 and (to_y == 0 or width / height < to_x / to_y)
    full_x, full_y = (to_x, to_x * height // width) if fits_width else (to_y * width // height, to_y)
    if 0 in (to_x, to_y):
        return HiresSize(full_x, full_y, 0, 0, note)
    return HiresSize(full_x, full_y, full_x - to_x, full_y - to_y, note)


def old_hires_fix_first_pass_dimensions(width: int, height: int) -> tuple[int, int]:
    """A first pass of about 512 x 512 pixels, in steps of 64, for a picture of the given size."""
    shrink = math.sqrt(_FIRST_PASS_PIXELS / (width * height))
    columns, rows = (math.ceil(shrink * side / 64) for side in (width, height))
    return columns * 64, rows * 64
