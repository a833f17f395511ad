"""Drawn monsters: determinism, range, and that every attribute shows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from embedded.monsters import (
    ATTRIBUTES,
    Attributes,
    draw,
    free_attributes,
    from_labels,
    make_dataset,
    sample_attributes,
)

pytestmark = pytest.mark.once  # imports nothing whose version differs between the stacks

PLAIN = Attributes(body=0, colour=2, eyes=1, eye_size=0, mouth=2, horns=0, spots=0, position=1, background=1)


def test_dataset_is_the_same_for_the_same_seed_and_another_for_another() -> None:
    images, indices, captions = make_dataset(6, seed=4)
    again, indices_again, captions_again = make_dataset(6, seed=4)
    other, _, _ = make_dataset(6, seed=5)
    assert np.array_equal(images, again)
    assert np.array_equal(indices, indices_again)
    assert captions == captions_again
    assert not np.array_equal(images, other)
    assert images.shape == (6, 128, 128, 3)
    assert images.dtype == np.uint8
    assert indices.shape == (6, len(ATTRIBUTES))
    assert len(captions) == 6


def test_a_longer_dataset_begins_with_the_shorter_one() -> None:
    short, _, _ = make_dataset(3, seed=9)
    long, _, _ = make_dataset(7, seed=9)
    assert np.array_equal(short, long[:3])


@pytest.mark.parametrize("name", list(ATTRIBUTES))
def test_each_label_of_each_attribute_looks_different(name: str) -> None:
    pictures = [
        draw(replace(PLAIN, **{name: value}), np.random.default_rng(1)) for value in range(len(ATTRIBUTES[name]))
    ]
    for first in range(len(pictures)):
        for second in range(first):
            changed = np.abs(pictures[first].astype(int) - pictures[second]).max(axis=2) > 40
            assert changed.mean() > 0.002, f"{name} {first} and {second} look alike"


def test_nuisances_stay_small_beside_attributes() -> None:
    same = [draw(PLAIN, np.random.default_rng(seed)).astype(float) for seed in range(8)]
    moved = draw(replace(PLAIN, position=0), np.random.default_rng(0)).astype(float)
    nuisance = np.mean([np.abs(same[0] - other).mean() for other in same[1:]])
    assert nuisance < np.abs(same[0] - moved).mean()


@pytest.mark.parametrize("size", [32, 64, 256])
def test_other_sizes_show_the_same_picture(size: int) -> None:
    small = draw(PLAIN, np.random.default_rng(0), size=size)
    full = draw(PLAIN, np.random.default_rng(0), size=128)
    factor = max(size, 128) // min(size, 128)
    large, little = (small, full) if size > 128 else (full, small)
    side = len(little)
    pooled = large.reshape(side, factor, side, factor, 3).mean(axis=(1, 3))
    assert np.abs(pooled - little).mean() < 4


def test_sampling_keeps_what_is_fixed_and_reaches_the_rest() -> None:
    rng = np.random.default_rng(0)
    monsters = [sample_attributes(rng, {"colour": 3}) for _ in range(300)]
    assert {monster.colour for monster in monsters} == {3}
    for name, labels in ATTRIBUTES.items():
        if name != "colour":
            assert {getattr(monster, name) for monster in monsters} == set(range(len(labels)))


def test_what_does_not_exist_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="tail"):
        sample_attributes(np.random.default_rng(0), {"tail": 1})
    with pytest.raises(ValueError, match="colour is 6"):
        replace(PLAIN, colour=6)
    with pytest.raises(ValueError, match="'beige'"):
        from_labels({"colour": "beige"})
    with pytest.raises(ValueError, match="number of images is -1"):
        make_dataset(-1, 0)


def test_labels_and_free_attributes() -> None:
    assert PLAIN.label("colour") == "green"
    assert from_labels({"colour": "green", "body": "tall"}) == {"colour": 2, "body": 1}
    free = free_attributes({"colour": 2})
    assert "colour" not in free
    assert free["background"] == 5
    assert len(free) == 8
