"""Bootstrap intervals, comparisons and grids."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from math import log, sqrt

import numpy as np
import pytest

from embedded.monsters import ATTRIBUTES, draw, free_attributes, sample_attributes
from extension_core.measures import (
    PromptImages,
    bootstrap,
    compare,
    difference,
    image_grid,
    measure,
    share_of_gap,
    text_table,
)

pytestmark = pytest.mark.once  # imports nothing whose version differs between the stacks


def _drawn(n: int, seed: int, fixed: dict[str, int], required: dict[str, int]) -> PromptImages:
    """Images and true attributes of monsters that vary in all but `fixed`."""
    rng = np.random.default_rng(seed)
    monsters = [sample_attributes(rng, fixed) for _ in range(n)]
    images = np.stack([draw(monster, rng, 64) for monster in monsters])
    values = {name: np.array([getattr(monster, name) for monster in monsters]) for name in ATTRIBUTES}
    return PromptImages("a monster", images, values, required, free_attributes(required))


def _always(number: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda weights: np.full(len(weights), number)


def test_the_interval_of_a_mean_has_the_textbook_width() -> None:
    data = np.random.default_rng(0).normal(3.0, 2.0, 400)
    interval = bootstrap([lambda weights: weights @ data / weights.sum(1)], [400], repeats=3000).interval()
    half = 1.96 * data.std() / sqrt(400)
    assert interval.estimate == pytest.approx(data.mean())
    assert interval.high - interval.estimate == pytest.approx(half, rel=0.12)
    assert interval.estimate - interval.low == pytest.approx(half, rel=0.12)


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    rng = np.random.default_rng(1)
    hits = 0
    for trial in range(120):
        data = rng.integers(0, 2, 64).astype(float)
        interval = bootstrap([lambda weights, data=data: weights @ data / weights.sum(1)], [64], 300, trial).interval()
        hits += interval.low <= 0.5 <= interval.high
    assert hits / 120 > 0.88


def test_prompts_count_alike_and_those_without_images_are_left_out() -> None:
    constant = [_always(1.0), _always(3.0), _always(float("nan"))]
    result = bootstrap(constant, [10, 50, 7], repeats=20)
    assert result.estimate == 2.0
    assert (result.draws == 2.0).all()


def test_share_of_gap_and_difference() -> None:
    low, middle, high = (bootstrap([_always(value)], [5], repeats=10) for value in (1.0, 1.5, 3.0))
    assert share_of_gap(high, low, middle).estimate == pytest.approx(0.25)
    assert share_of_gap(high, low, middle).interval().low == pytest.approx(0.25)
    assert np.isnan(share_of_gap(low, low, middle).estimate)
    assert difference(high, low).interval().high == pytest.approx(2.0)


def test_a_set_with_less_variety_measures_lower_everywhere() -> None:
    base = measure([_drawn(48, 0, {}, {})], repeats=50)
    poor = measure([_drawn(48, 1, {"background": 1, "body": 0, "position": 1, "colour": 2}, {})], repeats=50)
    some = measure([_drawn(48, 2, {"background": 1, "body": 0}, {})], repeats=50)
    for name in ("entropy", "differing", "perceptual"):
        assert getattr(poor, name).interval().high < getattr(base, name).interval().low
    report = compare({"base": base, "distilled": poor, "hybrid": some})
    assert set(report["hybrid"]["share_of_gap"]) == {"entropy", "differing", "perceptual"}  # type: ignore[index]
    shares = report["hybrid"]["share_of_gap"]["entropy"]  # type: ignore[index]
    assert 0.2 < shares["estimate"] < 0.8
    assert json.loads(json.dumps(report)) == report
    free_nats = np.mean([log(len(labels)) for labels in ATTRIBUTES.values()])
    assert base.entropy.estimate == pytest.approx(free_nats, abs=0.06)


def test_only_images_that_follow_the_prompt_count_for_diversity() -> None:
    green = _drawn(20, 3, {"colour": 2}, {"colour": 2})
    stray = _drawn(20, 4, {"colour": 0}, {"colour": 2})
    mixed = PromptImages(
        "a green monster",
        np.concatenate([green.images, stray.images]),
        {name: np.concatenate([green.values[name], stray.values[name]]) for name in ATTRIBUTES},
        green.required,
        green.free,
    )
    alone, together = measure([green], repeats=5), measure([mixed], repeats=5)
    assert together.adherence.estimate == 0.5
    assert alone.adherence.estimate == 1.0
    assert together.entropy.estimate == pytest.approx(alone.entropy.estimate)
    assert together.perceptual.estimate == pytest.approx(alone.perceptual.estimate)


def test_illegible_images_follow_no_prompt() -> None:
    drawn = _drawn(10, 0, {}, {})
    blurred = replace(drawn, values={**drawn.values, "legible": np.arange(10) % 2})
    assert measure([blurred], repeats=5).adherence.estimate == 0.5
    assert measure([drawn], repeats=5).adherence.estimate == 1.0


def test_a_prompt_that_nothing_follows_is_measured_as_such() -> None:
    stray = _drawn(6, 4, {"colour": 0}, {"colour": 2})
    result = measure([stray], repeats=5)
    assert result.adherence.estimate == 0.0
    assert np.isnan(result.entropy.estimate)
    assert result.as_json()["entropy"] == {"estimate": None, "low": None, "high": None}
    with pytest.raises(ValueError, match="no prompts"):
        measure([])


def test_the_table_names_every_result() -> None:
    table = text_table({"base": measure([_drawn(8, 0, {}, {})], repeats=5)})
    assert table.count("\n") == 3
    assert "| base | 1.000 [1.000, 1.000] |" in table


def test_grids_hold_every_image_and_refuse_nonsense() -> None:
    images = _drawn(5, 0, {}, {}).images
    sheet = np.asarray(image_grid(images, 3, title="a monster", note="five seeds", labels=[str(i) for i in range(5)]))
    for image in images:
        corners = np.argwhere((sheet[:-63, :-63] == image[0, 0]).all(axis=2))
        assert any(np.array_equal(sheet[y : y + 64, x : x + 64], image) for y, x in corners)
    with pytest.raises(ValueError, match="labels"):
        image_grid(images, 3, labels=["one"])
    with pytest.raises(ValueError, match="0 images"):
        image_grid(images[:0], 3)
