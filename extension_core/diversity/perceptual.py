"""Distances between images: a built-in one, and LPIPS or DreamSim where they are installed."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from torch.nn import functional

MEASURES = ("structural", "lpips", "dreamsim")
_SCALES = (64, 32, 16)
_WINDOW = 7
_PAIRS_AT_ONCE = 256
_C1, _C2 = 0.01**2, 0.03**2


def available_measures() -> tuple[str, ...]:
    """Measures that can be computed here: "structural" always, the others if their package is installed."""
    return tuple(name for name in MEASURES if name == "structural" or find_spec(name) is not None)


def _pictures(images: np.ndarray) -> torch.Tensor:
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
        raise ValueError(f"images are {images.dtype} {images.shape}, but must be uint8 [n, height, width, 3]")
    return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 255


def _local_mean(maps: torch.Tensor) -> torch.Tensor:
    return functional.avg_pool2d(maps, _WINDOW, stride=2)


def _dissimilarity(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """(1 - SSIM) / 2 of pictures [p, 3, h, w], mean over places and channels: [p]."""
    mean1, mean2 = _local_mean(first), _local_mean(second)
    var1 = _local_mean(first * first) - mean1 * mean1
    var2 = _local_mean(second * second) - mean2 * mean2
    covariance = _local_mean(first * second) - mean1 * mean2
    light = (2 * mean1 * mean2 + _C1) / (mean1 * mean1 + mean2 * mean2 + _C1)
    structure = (2 * covariance + _C2) / (var1 + var2 + _C2)
    return ((1 - light * structure) / 2).flatten(1).mean(1).clamp(0, 1)


@torch.inference_mode()
def _structural(images: np.ndarray) -> np.ndarray:
    n = len(images)
    rows, columns = np.triu_indices(n, 1)
    total = torch.zeros(len(rows))
    pictures = _pictures(images)
    for side in _SCALES:
        small = functional.interpolate(pictures, (side, side), mode="bilinear", antialias=True, align_corners=False)
        for start in range(0, len(rows), _PAIRS_AT_ONCE):
            part = slice(start, start + _PAIRS_AT_ONCE)
            total[part] += _dissimilarity(small[rows[part]], small[columns[part]])
    return _symmetric(n, (total / len(_SCALES)).numpy())


def _symmetric(n: int, upper: np.ndarray) -> np.ndarray:
    matrix = np.zeros((n, n), dtype=np.float64)
    matrix[np.triu_indices(n, 1)] = upper
    return matrix + matrix.T


@torch.inference_mode()
def _lpips(images: np.ndarray) -> np.ndarray:
    network: Any = import_module("lpips").LPIPS(net="alex", verbose=False).eval()
    pictures = _pictures(images) * 2 - 1
    rows, columns = np.triu_indices(len(images), 1)
    pieces = [
        network(pictures[rows[start : start + 64]], pictures[columns[start : start + 64]]).flatten()
        for start in range(0, len(rows), 64)
    ]
    return _symmetric(len(images), torch.cat(pieces).numpy() if pieces else np.zeros(0))


@torch.inference_mode()
def _dreamsim(images: np.ndarray) -> np.ndarray:
    network: Any = import_module("dreamsim").dreamsim(pretrained=True, device="cpu")[0]
    pictures = functional.interpolate(_pictures(images), (224, 224), mode="bicubic", antialias=True).clamp(0, 1)
    features = torch.cat([functional.normalize(network.embed(piece), dim=1) for piece in pictures.split(16)])
    upper = (1 - features @ features.T)[np.triu_indices(len(images), 1)]
    return _symmetric(len(images), upper.numpy())


def distance_matrix(images: np.ndarray, measure: str = "structural") -> np.ndarray:
    """Distances between uint8 images [n, h, w, 3]: float64 [n, n], symmetric, 0 on the diagonal.

    "structural": mean over the scales 64, 32 and 16 pixels of (1 - SSIM) / 2 on RGB, window 7 x 7, in 0..1; SSIM as
    in Wang et al. 2004 with box windows. "lpips" (AlexNet) and "dreamsim" are computed by the packages of that name,
    which fetch their own weights. Raises ValueError for an unknown measure or one whose package is missing.
    """
    if measure not in MEASURES:
        raise ValueError(f"perceptual measure {measure!r} does not exist, choose from {MEASURES}")
    if measure not in available_measures():
        raise ValueError(f"perceptual measure {measure!r} needs the Python package {measure!r}, which is not installed")
    return {"structural": _structural, "lpips": _lpips, "dreamsim": _dreamsim}[measure](images)


def pairwise_mean(distances: np.ndarray, chosen: np.ndarray | None = None) -> float:
    """Mean over pairs of different images of a matrix [n, n]; nan with fewer than two images.

    `chosen` int [m] picks images, repeats allowed (a bootstrap draw): pairs of an image with itself do not count.
    """
    chosen = np.arange(len(distances)) if chosen is None else chosen
    different = chosen[:, None] != chosen[None, :]
    if not different.any():
        return float("nan")
    return float(distances[np.ix_(chosen, chosen)][different].mean())
