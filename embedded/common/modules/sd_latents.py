"""Latents of a request: their shape, their noise, and what they decode to."""

from __future__ import annotations

from typing import Any

import torch

from modules import rng

opt_C = 4
opt_f = 8


class DecodedSamples(list[torch.Tensor]):
    already_decoded = True


def create_random_tensors(
    shape: Any,
    seeds: Any,
    subseeds: Any = None,
    subseed_strength: float = 0.0,
    seed_resize_from_h: int = 0,
    seed_resize_from_w: int = 0,
    p: Any = None,
) -> torch.Tensor:
    del p
    return rng.ImageRNG(shape, seeds, subseeds, subseed_strength, seed_resize_from_h, seed_resize_from_w).next()
