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


def _wash_out(pictures: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Blend smooth patches of each picture with a copy that has lost its detail, as a small autoencoder does."""
    n, _, height, width = pictures.shape
    side = int(torch.randint(10, 25, (1,), generator=generator))
    blurred = functional.interpolate(pictures, (side, side), mode="bilinear", antialias=True, align_corners=False)
    blurred = functional.interpolate(blurred, (height, width), mode="bicubic", align_corners=False)
    coarse = torch.rand(n, 1, 5, 5, generator=generator) * torch.rand(n, 1, 1, 1, generator=generator) * 0.9
    mask = functional.interpolate(coarse, (height, width), mode="bilinear", align_corners=True)
    return pictures + (blurred - pictures) * mask


def damage(pictures: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Bend, wash out, soften, tint and add grain to float [n, 3, h, w] in -1..1; each batch draws one softness."""

    def uniform(low: float, high: float, *shape: int) -> torch.Tensor:
        return low + (high - low) * torch.rand(*shape, generator=generator)

    n, _, height, width = pictures.shape
    pictures = _wash_out(_warp(pictures, generator, 0.012), generator)
    side = int(height * float(uniform(0.3, 1.0, 1)))
    small = functional.interpolate(pictures, (side, side), mode="bilinear", antialias=True, align_corners=False)
    pictures = functional.interpolate(small, (height, width), mode="bicubic", align_corners=False)
    tint, contrast = uniform(-0.12, 0.12, n, 3, 1, 1), uniform(0.8, 1.15, n, 1, 1, 1)
    grain = uniform(0.0, 0.15, n, 1, 1, 1)
    fine = torch.randn(n, 3, height, width, generator=generator)
    blotch = torch.randn(n, 3, height // 8, width // 8, generator=generator)
    blotches = functional.interpolate(blotch, (height, width), mode="bilinear", align_corners=False)
    return (pictures * contrast + tint + grain * (0.7 * fine + blotches)).clamp(-1, 1)


def _shuffled(pictures: torch.Tensor, generator: torch.Generator, side: int) -> torch.Tensor:
    """Cut pictures into squares of `side` pixels and lay them out in another order."""
    n, channels, height, width = pictures.shape
    pieces = functional.unfold(pictures, side, stride=side)
    order = torch.randperm(pieces.shape[2], generator=generator)
    return functional.fold(pieces[:, :, order], (height, width), side, stride=side).reshape(n, channels, height, width)


def _blobs(like: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Coloured noise of one coarseness, from blots to grain."""
    n, _, height, width = like.shape
    side = (4, 8, 16, 32, 64)[int(torch.randint(5, (1,), generator=generator))]
    noise = torch.randn(n, 3, side, side, generator=generator) * 0.7
    noise = noise + torch.randn(n, 3, 1, 1, generator=generator) * 0.4
    return functional.interpolate(noise, (height, width), mode="bilinear", align_corners=False).clamp(-1, 1)


def ruin(pictures: torch.Tensor, scenes: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Pictures without one whole monster, from float [n, 3, h, w] in -1..1: a quarter each of kinds.

    Two monsters in one another, pieces out of order, noise, and empty `scenes` [m, 3, h, w].
    """
    first, second, third, fourth = pictures.tensor_split(4)
    share = 0.35 + 0.3 * torch.rand(len(first), 1, 1, 1, generator=generator)
    mixed = first * share + first.roll(1, 0) * (1 - share)
    side = (16, 32, 64)[int(torch.randint(3, (1,), generator=generator))]
    rows = torch.randint(len(scenes), (len(fourth),), generator=generator)
    return torch.cat([mixed, _shuffled(second, generator, side), _blobs(third, generator), scenes[rows]])
