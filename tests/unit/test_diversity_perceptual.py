"""Perceptual distances: laws, an independent SSIM, and what they say of monsters."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view

from embedded.monsters import Attributes, draw, make_dataset
from extension_core.measures import available_measures, distance_matrix, paired_distances, pairwise_mean
from extension_core.measures.perceptual import MEASURES, pairwise_means

pytestmark = pytest.mark.once  # imports nothing whose version differs between the stacks


def _noise(n: int, seed: int, side: int = 64) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, side, side, 3), dtype=np.uint8)


@settings(max_examples=15, deadline=None)
@given(st.integers(2, 6), st.integers(0, 1000))
def test_distances_form_a_symmetric_matrix_in_range(n: int, seed: int) -> None:
    matrix = distance_matrix(_noise(n, seed))
    assert matrix.shape == (n, n)
    assert np.array_equal(matrix, matrix.T)
    assert not matrix.diagonal().any()
    assert (matrix >= 0).all()
    assert (matrix <= 1).all()
    order = np.random.default_rng(seed).permutation(n)
    permuted = distance_matrix(_noise(n, seed)[order])
    assert np.allclose(permuted, matrix[np.ix_(order, order)], atol=1e-6)


def test_duplicates_are_at_no_distance() -> None:
    images, _, _ = make_dataset(1, 0)
    assert distance_matrix(np.repeat(images, 4, axis=0)).max() == pytest.approx(0, abs=1e-6)


def _ssim(first: np.ndarray, second: np.ndarray) -> float:
    """SSIM in 0..1 pictures [h, w, 3], box window 7, stride 2, straight from the paper's formula."""
    windows = [sliding_window_view(p, (7, 7), axis=(0, 1))[::2, ::2].reshape(-1, 49) for p in (first, second)]
    (m1, m2), (v1, v2) = [w.mean(1) for w in windows], [w.var(1) for w in windows]
    covariance = (windows[0] * windows[1]).mean(1) - m1 * m2
    c1, c2 = 0.01**2, 0.03**2
    return float(((2 * m1 * m2 + c1) * (2 * covariance + c2) / ((m1**2 + m2**2 + c1) * (v1 + v2 + c2))).mean())


def _at(images: np.ndarray, side: int) -> float:
    """(1 - SSIM) / 2 of the pair scaled by PyTorch's antialiased bilinear filter, which the measure states."""
    stack = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    small = torch.nn.functional.interpolate(stack, (side, side), mode="bilinear", antialias=True)
    first, second = small.permute(0, 2, 3, 1).double().numpy()
    return (1 - _ssim(first, second)) / 2


def test_structural_distance_is_ssim_over_three_scales() -> None:
    images, _, _ = make_dataset(2, 7)
    expected = np.mean([_at(images, side) for side in (64, 32, 16)])
    assert distance_matrix(images)[0, 1] == pytest.approx(expected, abs=1e-4)


def test_monsters_that_differ_more_are_farther_apart() -> None:
    monster = Attributes(body=0, colour=2, eyes=1, eye_size=0, mouth=2, horns=0, spots=0, position=1, background=1)
    alike = np.stack([draw(monster, np.random.default_rng(seed)) for seed in range(8)])
    varied, _, _ = make_dataset(8, 1)
    assert pairwise_mean(distance_matrix(alike)) < 0.5 * pairwise_mean(distance_matrix(varied))


def test_weighted_pairs_are_pairs_of_a_drawn_set() -> None:
    """An image drawn twice has two pairs with each other image, and none with itself."""
    matrix = np.abs(np.subtract.outer(np.arange(4.0), np.array([0.0, 1.0, 2.0, 3.0]) ** 2))
    matrix = matrix + matrix.T
    drawn = np.array([0, 0, 3, 1])
    expected = [matrix[i, j] for i in drawn for j in drawn if i != j]
    weights = np.array([[2.0, 1.0, 0.0, 1.0], [0.0, 4.0, 0.0, 0.0]])
    assert pairwise_means(matrix, weights)[0] == pytest.approx(np.mean(expected))
    assert np.isnan(pairwise_means(matrix, weights)[1])
    assert np.isnan(pairwise_mean(np.zeros((1, 1))))


def test_measures_that_cannot_be_computed_are_refused() -> None:
    with pytest.raises(ValueError, match="does not exist"):
        distance_matrix(_noise(2, 0), "fid")
    for missing in set(MEASURES) - set(available_measures()):
        with pytest.raises(ValueError, match="not installed"):
            distance_matrix(_noise(2, 0), missing)
    with pytest.raises(ValueError, match="must be uint8"):
        distance_matrix(_noise(2, 0).astype(np.float32))


def test_fewer_than_two_images_have_empty_matrices() -> None:
    assert distance_matrix(_noise(0, 0)).shape == (0, 0)
    assert distance_matrix(_noise(1, 0)).tolist() == [[0.0]]


def test_pairs_have_the_distances_that_the_matrix_has() -> None:
    images, _, _ = make_dataset(20, 3)
    matrix = distance_matrix(images)
    paired = paired_distances(images[1:], images[:-1])
    assert paired == pytest.approx(matrix[np.arange(1, 20), np.arange(19)], abs=1e-5)
    assert paired_distances(images, images) == pytest.approx(np.zeros(20), abs=1e-6)
    assert paired_distances(images[:0], images[:0]).shape == (0,)
    with pytest.raises(ValueError, match="cannot be paired"):
        paired_distances(images, images[:3])
    assert paired_distances(images[:6], images[:3]) == pytest.approx([0, 0, 0, *matrix[[3, 4, 5], [0, 1, 2]]], abs=1e-5)
    with pytest.raises(ValueError, match="does not exist"):
        paired_distances(images, images, "fid")
