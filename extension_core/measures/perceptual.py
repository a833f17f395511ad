"""Distances between images: a built-in one, and LPIPS or DreamSim where they are installed."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

MEASURES = ("structural", "lpips", "dreamsim")
_SCALES = (64, 32, 16)
_WINDOW = 7
_CELLS_AT_ONCE = 1 << 20
_C1, _C2 = 0.01**2, 0.03**2

Pair = tuple[torch.Tensor, torch.Tensor]


def available_measures() -> tuple[str, ...]:
    """Measures that can be computed here: "structural" always, the others if their package is installed."""
    return tuple(name for name in MEASURES if name == "structural" or find_spec(name) is not None)


def _pictures(images: NDArray[Any]) -> torch.Tensor:
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
        raise ValueError(f"images are {images.dtype} {images.shape}, but must be uint8 [n, height, width, 3]")
    return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 255


def _dissimilarities(pictures: torch.Tensor) -> torch.Tensor:
    """(1 - SSIM) / 2, mean over windows and channels, of all pairs of pictures [n, 3, h, w]: [n, n]."""
    n, channels, height, width = pictures.shape
    single = pictures.reshape(n * channels, 1, height, width)
    patches = functional.unfold(single, _WINDOW, stride=2)
    windows = patches.reshape(n, channels, _WINDOW**2, -1).permute(1, 3, 0, 2).reshape(-1, n, _WINDOW**2)
    total = pictures.new_zeros(n, n)
    for part in windows.split(max(1, _CELLS_AT_ONCE // max(1, n * n))):
        mean = part.mean(2, keepdim=True)
        covariance = torch.bmm(part - mean, (part - mean).transpose(1, 2)) / _WINDOW**2
        variance = covariance.diagonal(dim1=1, dim2=2).unsqueeze(2)
        mean_t, variance_t = mean.transpose(1, 2), variance.transpose(1, 2)
        total += (1 - _ssim((mean, mean_t), (variance, variance_t), covariance)).sum(0)
    return total / (2 * len(windows))


def _ssim(means: Pair, variances: Pair, covariance: torch.Tensor) -> torch.Tensor:
    light = (2 * means[0] * means[1] + _C1) / (means[0] ** 2 + means[1] ** 2 + _C1)
    structure = (2 * covariance + _C2) / (variances[0] + variances[1] + _C2)
    return light * structure


def _paired_dissimilarities(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """(1 - SSIM) / 2, mean over windows and channels, of first[i] and second[i], [n, 3, h, w] each: [n]."""
    n, channels, height, width = first.shape
    single = [pictures.reshape(n * channels, 1, height, width) for pictures in (first, second)]
    a, b = (functional.unfold(pictures, _WINDOW, stride=2) for pictures in single)
    means = a.mean(1), b.mean(1)
    a, b = a - means[0].unsqueeze(1), b - means[1].unsqueeze(1)
    similar = _ssim(means, ((a * a).mean(1), (b * b).mean(1)), (a * b).mean(1))
    return (1 - similar.reshape(n, -1).mean(1)) / 2


def _scaled(pictures: torch.Tensor, side: int) -> torch.Tensor:
    return functional.interpolate(pictures, (side, side), mode="bilinear", antialias=True, align_corners=False)


@torch.inference_mode()
def _structural(images: NDArray[Any]) -> NDArray[Any]:
    n = len(images)
    if n < 2:
        return np.zeros((n, n))
    pictures = _pictures(images)
    total = torch.zeros(n, n)
    for side in _SCALES:
        total += _dissimilarities(_scaled(pictures, side))
    return _symmetric(n, (total / len(_SCALES)).clamp(0, 1).numpy()[np.triu_indices(n, 1)])


def _symmetric(n: int, upper: NDArray[Any]) -> NDArray[Any]:
    matrix = np.zeros((n, n), dtype=np.float64)
    matrix[np.triu_indices(n, 1)] = upper
    return matrix + matrix.T


def _lpips_network() -> Any:
    return import_module("lpips").LPIPS(net="alex", verbose=False).eval()


def _dreamsim_network() -> Any:
    return import_module("dreamsim").dreamsim(pretrained=True, device="cpu")[0]


def _dreamsim_features(network: Any, images: NDArray[Any]) -> torch.Tensor:
    pictures = functional.interpolate(_pictures(images), (224, 224), mode="bicubic", antialias=True).clamp(0, 1)
    return functional.normalize(network.embed(pictures), dim=1)


@torch.inference_mode()
def _lpips(images: NDArray[Any]) -> NDArray[Any]:
    network = _lpips_network()
    pictures = _pictures(images) * 2 - 1
    rows, columns = np.triu_indices(len(images), 1)
    pieces = [
        network(pictures[rows[start : start + 64]], pictures[columns[start : start + 64]]).flatten()
        for start in range(0, len(rows), 64)
    ]
    return _symmetric(len(images), torch.cat(pieces).numpy() if pieces else np.zeros(0))


@torch.inference_mode()
def _dreamsim(images: NDArray[Any]) -> NDArray[Any]:
    network = _dreamsim_network()
    features = torch.cat([_dreamsim_features(network, images[i : i + 16]) for i in range(0, len(images), 16)])
    upper = (1 - features @ features.T)[np.triu_indices(len(images), 1)]
    return _symmetric(len(images), upper.numpy())


def distance_matrix(images: NDArray[Any], measure: str = "structural") -> NDArray[Any]:
    """Distances between uint8 images [n, h, w, 3]: float64 [n, n], symmetric, 0 on the diagonal.

    "structural": mean over the scales 64, 32 and 16 pixels of (1 - SSIM) / 2 on RGB, window 7 x 7, in 0..1; SSIM as
    in Wang et al. 2004 with box windows. "lpips" (AlexNet) and "dreamsim" are computed by the packages of that name,
    which fetch their own weights. Raises ValueError for an unknown measure or one whose package is missing.
    """
    _check_measure(measure)
    return {"structural": _structural, "lpips": _lpips, "dreamsim": _dreamsim}[measure](images)


def _check_measure(measure: str) -> None:
    if measure not in MEASURES:
        raise ValueError(f"perceptual measure {measure!r} does not exist, choose from {MEASURES}")
    if measure not in available_measures():
        raise ValueError(f"perceptual measure {measure!r} needs the Python package {measure!r}, which is not installed")


def _structural_pairs(first: NDArray[Any], second: NDArray[Any]) -> torch.Tensor:
    pictures = _pictures(first), _pictures(second)
    total = torch.zeros(len(first))
    for side in _SCALES:
        total += _paired_dissimilarities(_scaled(pictures[0], side), _scaled(pictures[1], side))
    return (total / len(_SCALES)).clamp(0, 1)


def _pair_function(measure: str) -> Callable[[NDArray[Any], NDArray[Any]], torch.Tensor]:
    if measure == "lpips":
        lpips = _lpips_network()
        return lambda first, second: lpips(_pictures(first) * 2 - 1, _pictures(second) * 2 - 1).flatten()
    if measure == "dreamsim":
        dreamsim = _dreamsim_network()
        return lambda first, second: (
            1 - (_dreamsim_features(dreamsim, first) * _dreamsim_features(dreamsim, second)).sum(1)
        )
    return _structural_pairs


@torch.inference_mode()
def paired_distances(first: NDArray[Any], second: NDArray[Any], measure: str = "structural") -> NDArray[Any]:
    """Distance of first[i] to second[i % len(second)], uint8 [n, h, w, 3] and [m, h, w, 3], n a multiple of m: [n].

    By a measure of `distance_matrix`, float64; takes as long as n pairs, where the matrix takes n * n. Raises
    ValueError as `distance_matrix` does.
    """
    _check_measure(measure)
    if first.shape[1:] != second.shape[1:] or len(first) % max(1, len(second)):
        raise ValueError(f"images {first.shape} cannot be paired with images {second.shape}: give as many, as large")
    distances = _pair_function(measure)
    chunks = [np.arange(i, min(i + 16, len(first))) for i in range(0, len(first), 16)]
    parts = [distances(first[chunk], second[chunk % len(second)]) for chunk in chunks]
    return torch.cat(parts).double().numpy() if parts else np.zeros(0)


def pairwise_means(distances: NDArray[Any], weights: NDArray[Any]) -> NDArray[Any]:
    """Mean over pairs of different images of a matrix [n, n], for r weighted sets, weights [r, n]: float [r].

    Weights say how often each image counts (a bootstrap draw); an image's pairs with itself never do. No pair: nan.
    """
    off_diagonal = distances * (1 - np.eye(len(distances)))
    pairs = weights.sum(axis=1) ** 2 - (weights**2).sum(axis=1)
    sums = ((weights @ off_diagonal) * weights).sum(axis=1)
    return sums / np.where(pairs > 0, pairs, np.nan)


def pairwise_mean(distances: NDArray[Any]) -> float:
    """Mean over pairs of different images of a matrix [n, n]; nan with fewer than two images."""
    return float(pairwise_means(distances, np.ones((1, len(distances))))[0])
