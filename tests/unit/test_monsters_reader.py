"""The trained reader reads monsters it was not trained on, and its files keep their promises."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from embedded.monsters import ATTRIBUTES, make_dataset
from embedded.monsters.augment import damage, recompress
from embedded.monsters.check_reader import accuracy, damaged_copy, rejected, through
from embedded.monsters.reader import LEGIBLE, READER_FILE, Reader, ReaderNetwork, load_reader, to_tensor
from embedded.monsters.train_reader import save, train

pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def reader() -> Reader:
    return load_reader()


def test_the_stated_accuracy_is_reached_on_new_monsters(reader: Reader) -> None:
    images, indices, _ = make_dataset(200, seed=909)
    assert accuracy(reader, images, indices)["all"] >= 0.98
    assert accuracy(reader, damaged_copy(images, 1), indices)["all"] >= 0.9


def test_what_shows_no_monster_is_illegible(reader: Reader) -> None:
    images, _, _ = make_dataset(80, seed=77)
    assert rejected(reader, images, seed=7) > 0.7
    assert reader.read(images).values[LEGIBLE].all()


def test_the_files_are_small_and_state_each_attribute() -> None:
    stated = json.loads(READER_FILE.with_suffix(".json").read_text(encoding="utf-8"))
    assert READER_FILE.stat().st_size < 1_500_000
    for condition in ("accuracy_drawn", "accuracy_damaged"):
        assert set(stated[condition]) == {*ATTRIBUTES, "all", LEGIBLE}
        assert min(stated[condition].values()) > 0.9


def test_a_reading_has_values_and_probabilities_for_every_image(reader: Reader) -> None:
    images, _, _ = make_dataset(5, seed=1)
    reading = reader.read(images, batch=2)
    for name, labels in ATTRIBUTES.items():
        assert reading.values[name].shape == (5,)
        assert reading.probabilities[name].shape == (5, len(labels))
        assert np.allclose(reading.probabilities[name].sum(1), 1, atol=1e-5)
    whole = reader.read(images)
    assert all(np.array_equal(whole.values[name], reading.values[name]) for name in ATTRIBUTES)
    assert reader.read(images[:0]).values["body"].shape == (0,)


def test_a_reading_does_not_depend_on_the_images_beside_it(reader: Reader) -> None:
    images, _, _ = make_dataset(4, seed=2)
    together = reader.read(images).probabilities["mouth"]
    alone = np.concatenate([reader.read(images[row : row + 1]).probabilities["mouth"] for row in range(4)])
    assert np.allclose(together, alone, atol=1e-5)


def test_wrong_images_and_missing_files_are_refused(reader: Reader, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="must be uint8"):
        reader.read(np.zeros((1, 128, 128, 3), np.float32))
    with pytest.raises(FileNotFoundError, match="train_reader"):
        load_reader(tmp_path / "none.safetensors")


def test_training_is_deterministic_and_what_is_saved_is_loaded(tmp_path: Path) -> None:
    images, indices, _ = make_dataset(32, seed=3)
    first, second = (train(images, indices, steps=4, batch=8) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    save(first, tmp_path / "r.safetensors")
    loaded = load_reader(tmp_path / "r.safetensors").network
    for name, tensor in loaded.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            assert torch.allclose(tensor, first.state_dict()[name], rtol=2e-3, atol=1e-4), name


def test_damage_changes_a_picture_a_little_and_repeats_itself() -> None:
    images, _, _ = make_dataset(8, seed=4)
    pictures = to_tensor(images)
    damaged = damage(pictures, torch.Generator().manual_seed(1))
    assert torch.equal(damaged, damage(pictures, torch.Generator().manual_seed(1)))
    assert damaged.shape == pictures.shape
    assert damaged.abs().max() <= 1
    assert 0.01 < (damaged - pictures).abs().mean() < 0.4
    compressed = recompress(images, np.random.default_rng(0), share=1.0)
    assert 0 < np.abs(compressed.astype(int) - images).mean() < 12
    assert np.array_equal(recompress(images, np.random.default_rng(0), share=0.0), images)


def test_a_codec_that_changes_nothing_changes_nothing() -> None:
    images, _, _ = make_dataset(3, seed=5)
    assert np.array_equal(through(lambda pictures: pictures, images, batch=2), images)


def test_a_network_is_made_for_the_attributes_there_are() -> None:
    assert ReaderNetwork()(torch.zeros(2, 3, 128, 128)).shape == (2, sum(map(len, ATTRIBUTES.values())))
