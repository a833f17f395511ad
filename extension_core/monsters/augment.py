"""Damage like that of a small VAE or a hurried sampler, so that the reader also reads generated pictures."""

from __future__ import annotations

import io

import numpy as np
import torch
from PIL import Image
from torch.nn import functional


def recompress(images: np.ndarray, rng: np.random.Generator, share: float) -> np.ndarray:
    """A copy of uint8 [n, h, w, 3] in which `share` of the pictures went through JPEG at quality 30 to 90."""
    result = images.copy()
    for row in np.flatnonzero(rng.random(len(images)) < share):
        buffer = io.BytesIO()
        Image.fromarray(images[row]).save(buffer, "JPEG", quality=int(rng.integers(30, 91)))
        result[row] = np.asarray(Image.open(buffer))
    return result


def _warp(pictures: torch.Tensor, generator: torch.Generator, strength: float) -> torch.Tensor:
    """Bend pictures smoothly by about `strength` of half their side."""
    n, _, height, width = pictures.shape
    coarse = torch.randn(n, 2, 7, 7, generator=generator) * strength
    bend = functional.interpolate(coarse, (height, width), mode="bicubic", align_corners=True)
    unit = torch.eye(2, 3).expand(n, 2, 3)
    grid = functional.affine_grid(unit, [n, 3, height, width], align_corners=False)
    return functional.grid_sample(pictures, grid + bend.permute(0, 2, 3, 1), padding_mode="border", align_corners=False)


def damage(pictures: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Bend, soften, tint and add grain to float [n, 3, h, w] in -1..1; each batch draws one softness."""

    def uniform(low: float, high: float, *shape: int) -> torch.Tensor:
        return low + (high - low) * torch.rand(*shape, generator=generator)

    n, _, height, width = pictures.shape
    pictures = _warp(pictures, generator, 0.012)
    side = int(height * float(uniform(0.3, 1.0, 1)))
    small = functional.interpolate(pictures, (side, side), mode="bilinear", antialias=True, align_corners=False)
    pictures = functional.interpolate(small, (height, width), mode="bicubic", align_corners=False)
    tint, contrast = uniform(-0.12, 0.12, n, 3, 1, 1), uniform(0.8, 1.15, n, 1, 1, 1)
    grain = uniform(0.0, 0.15, n, 1, 1, 1)
    fine = torch.randn(n, 3, height, width, generator=generator)
    blotch = torch.randn(n, 3, height // 8, width // 8, generator=generator)
    blotches = functional.interpolate(blotch, (height, width), mode="bilinear", align_corners=False)
    return (pictures * contrast + tint + grain * (0.7 * fine + blotches)).clamp(-1, 1)
