"""Sizes in which pictures of all shapes are trained: a few rectangles of about the same area."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor


@dataclass(frozen=True, order=True)
class Size:
    """In pixels."""

    height: int
    width: int

    @property
    def ratio(self) -> float:
        """Width over height."""
        return self.width / self.height


def sizes_of(resolution: int, step: int = 64, widest: float = 2.0) -> list[Size]:
    """Every size of sides in multiples of `step`, of at most as many pixels as the square and a ratio up to `widest`.

    The square's side is `resolution`, rounded down. To each height belongs the widest width that fits, and the other
    way round.
    """
    side = max(step, resolution // step * step)
    found = {Size(side, side)}
    for short in range(step, side + 1, step):
        long = min(side * side // short, int(short * widest)) // step * step
        if long >= short:
            found |= {Size(short, long), Size(long, short)}
    # What is much smaller than the rest would be learnt with too little detail.
    return sorted(size for size in found if size.height * size.width > side * side // 2)


def size_for(width: int, height: int, sizes: list[Size]) -> Size:
    """The one whose ratio is nearest; of several the largest."""
    wanted = math.log(width / height)
    return min(sizes, key=lambda size: (abs(math.log(size.ratio) - wanted), -size.height * size.width))


@dataclass(frozen=True)
class Fitted:
    """A picture in its size.

    Args:
        pixels: [3, H, W] in -1 to 1.
        told: what SDXL is told of it: original height and width, top and left of the crop, height and width.
    """

    pixels: Tensor
    told: tuple[int, int, int, int, int, int]


def fit(picture: Image.Image, size: Size) -> Fitted:
    """Scale a picture until it just covers the size, and cut what stands over at both sides alike."""
    scale = max(size.width / picture.width, size.height / picture.height)
    scaled = (max(size.width, round(picture.width * scale)), max(size.height, round(picture.height * scale)))
    resized = picture.resize(scaled, Image.Resampling.LANCZOS) if scaled != picture.size else picture
    left, top = (scaled[0] - size.width) // 2, (scaled[1] - size.height) // 2
    cut: Any = np.asarray(resized.crop((left, top, left + size.width, top + size.height)), dtype=np.float32)
    pixels = torch.from_numpy(cut).permute(2, 0, 1) / 127.5 - 1
    return Fitted(pixels, (picture.height, picture.width, top, left, size.height, size.width))
