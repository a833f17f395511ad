"""The trained files that come with the repository."""

from __future__ import annotations

import json

import numpy as np
import torch
from safetensors.torch import load_file

from embedded.distill.evaluate import Pair, four_steps
from embedded.distill.export import EMBEDDED_PAIR, PAIR_NAMES
from embedded.networks import load_checkpoint

LIMIT_BYTES = 24 * 2**20


def test_the_pair_is_small_and_differs_in_the_unet_only() -> None:
    assert sum(path.stat().st_size for path in EMBEDDED_PAIR.rglob("*") if path.is_file()) < LIMIT_BYTES
    first, second = (load_file(str(EMBEDDED_PAIR / f"{name}.safetensors")) for name in PAIR_NAMES)
    assert set(first) == set(second)
    differing = {name for name in first if not torch.equal(first[name], second[name])}
    assert differing
    assert all(name.startswith("model.diffusion_model.") for name in differing)


def test_the_student_draws_in_four_steps_and_seeds_repeat() -> None:
    pair = Pair(*(load_checkpoint(EMBEDDED_PAIR / f"{name}.safetensors") for name in PAIR_NAMES))
    images = pair.pictures("a green monster", four_steps(0, True, True), range(5, 9))
    assert images.shape == (4, 128, 128, 3)
    assert images.std() > 30
    assert np.array_equal(images[:2], pair.pictures("a green monster", four_steps(0, True, True), range(5, 9))[:2])


def test_the_measured_table_is_beside_the_files() -> None:
    results = json.loads((EMBEDDED_PAIR / "results.json").read_text(encoding="utf-8"))["results"]
    base, distilled = results["base"]["entropy"], results["distilled"]["entropy"]
    assert base["low"] > distilled["high"]
