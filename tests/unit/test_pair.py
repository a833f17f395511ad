"""The trained files that come with the repository."""

from __future__ import annotations

import json

import numpy as np
import torch
from safetensors.torch import load_file

from embedded.distill.evaluate import Pair, four_steps
from embedded.distill.export import EMBEDDED_PAIR, PAIR_NAMES, UNET_PREFIX, load_pair

LIMIT_BYTES = 21_000_000  # with the reader; 20.6 million as trained


def test_the_pair_is_small_and_has_nothing_twice() -> None:
    files = (*EMBEDDED_PAIR.rglob("*"), EMBEDDED_PAIR.parent / "monsters" / "reader.safetensors")
    assert sum(path.stat().st_size for path in files if path.is_file()) < LIMIT_BYTES
    whole, unet = (load_file(str(EMBEDDED_PAIR / f"{name}.safetensors")) for name in PAIR_NAMES)
    assert set(unet) == {name for name in whole if name.startswith(UNET_PREFIX)}
    assert {value.dtype for value in unet.values()} == {torch.float16}
    assert not all(torch.equal(value, whole[name]) for name, value in unet.items())


def test_the_student_draws_in_four_steps_and_seeds_repeat() -> None:
    pair = Pair(*load_pair(EMBEDDED_PAIR))
    images = pair.pictures("a green monster", four_steps(0, True, True), range(5, 9))
    assert images.shape == (4, 128, 128, 3)
    assert images.std() > 30
    assert np.array_equal(images[:2], pair.pictures("a green monster", four_steps(0, True, True), range(5, 9))[:2])


def test_the_measured_table_is_beside_the_files() -> None:
    results = json.loads((EMBEDDED_PAIR / "results.json").read_text(encoding="utf-8"))["results"]
    base, distilled = results["base"]["entropy"], results["distilled"]["entropy"]
    assert base["low"] > distilled["high"]
