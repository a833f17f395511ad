"""Attribute diversity against scipy, closed forms and laws."""

from __future__ import annotations

from math import log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import entropy as scipy_entropy

from extension_core.measures import (
    adherence,
    attribute_differences,
    attribute_entropy,
    entropy,
    joint_entropy,
    pairwise_mean,
)
from extension_core.measures.attributes import entropies

pytestmark = pytest.mark.once  # imports nothing whose version differs between the stacks

observations = arrays(np.int64, st.integers(1, 80), elements=st.integers(0, 5))


@given(observations)
def test_plug_in_entropy_is_scipys(values: np.ndarray) -> None:
    assert entropy(values, corrected=False) == pytest.approx(scipy_entropy(np.bincount(values)), abs=1e-12)


@given(observations)
def test_entropy_stays_within_its_bounds(values: np.ndarray) -> None:
    plain, corrected = entropy(values, corrected=False), entropy(values, labels=6)
    assert 0 <= plain <= log(len(np.unique(values))) + 1e-12
    assert plain - 1e-12 <= corrected <= log(6) + 1e-12


@given(observations, st.randoms(use_true_random=False))
def test_order_of_images_and_names_of_values_do_not_matter(values: np.ndarray, random) -> None:
    order = list(range(len(values)))
    random.shuffle(order)
    names = np.array(random.sample(range(6), 6))
    assert entropy(values[order]) == pytest.approx(entropy(values))
    assert entropy(names[values]) == pytest.approx(entropy(values))


@given(observations, st.integers(0, 1000))
def test_weights_are_repetitions(values: np.ndarray, seed: int) -> None:
    weights = np.random.default_rng(seed).integers(0, 3, (1, len(values)))
    repeated = np.repeat(values, weights[0])
    expected = entropy(repeated, labels=6)
    assert entropies(values, weights, labels=6)[0] == pytest.approx(expected, nan_ok=True)


def test_the_correction_removes_most_of_the_small_sample_bias() -> None:
    rng = np.random.default_rng(0)
    draws = [rng.integers(6, size=32) for _ in range(500)]
    plain = np.mean([entropy(values, corrected=False) for values in draws])
    corrected = np.mean([entropy(values) for values in draws])
    assert abs(corrected - log(6)) < 0.1 * abs(plain - log(6))


def test_no_images_have_no_entropy_and_one_value_has_none() -> None:
    assert np.isnan(entropy(np.zeros(0, np.int64)))
    assert entropy(np.full(9, 4)) == 0.0


def test_attribute_entropy_is_the_mean_over_free_attributes() -> None:
    values = {"a": np.array([0, 1, 0, 1]), "b": np.zeros(4, int), "c": np.arange(4)}
    assert attribute_entropy(values, {"a": 2, "b": 3}) == pytest.approx(log(2) / 2)
    with pytest.raises(ValueError, match="no free attributes"):
        attribute_entropy(values, {})


def test_joint_entropy_sees_coupling_that_marginals_hide() -> None:
    coin = np.array([0, 1] * 8)
    other = np.array([0, 0, 1, 1] * 4)
    assert joint_entropy({"a": coin, "b": coin}, ("a", "b")) == pytest.approx(log(2))
    assert joint_entropy({"a": coin, "b": other}, ("a", "b")) == pytest.approx(2 * log(2))


@given(observations)
def test_differences_are_gini_simpson_without_bias(values: np.ndarray) -> None:
    n = len(values)
    matrix = attribute_differences({"a": values}, ("a",))
    assert np.array_equal(matrix, matrix.T)
    assert not matrix.diagonal().any()
    if n > 1:
        shares = np.bincount(values) / n
        assert pairwise_mean(matrix) == pytest.approx((1 - (shares**2).sum()) * n / (n - 1))


def test_adherence_needs_every_required_value() -> None:
    values = {"colour": np.array([2, 2, 1]), "mouth": np.array([0, 3, 3])}
    assert adherence(values, {"colour": 2, "mouth": 3}).tolist() == [False, True, False]
    assert adherence(values, {}).all()
    with pytest.raises(ValueError, match="no attribute values"):
        adherence({}, {"colour": 2})
