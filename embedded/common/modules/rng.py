"""Noise from seeds: each image has its own generator, so that it is the same alone and in any batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from modules import devices, shared

opt_C = 4
"""Channels of a latent."""
opt_f = 8
"""Pixels of the picture along a side of one of a latent's."""


class DecodedSamples(list[torch.Tensor]):
    """Pictures [3, H, W] in -1..1."""

    already_decoded = True


def create_generator(seed: int) -> torch.Generator:
    """A graphics card draws other numbers than the processor does."""
    return torch.Generator("cpu" if shared.opts.randn_source == "CPU" else devices.device).manual_seed(int(seed))


def _draw(shape: Sequence[int], generator: torch.Generator) -> torch.Tensor:
    return torch.randn(tuple(shape), generator=generator, device=generator.device).to(devices.device)


def randn_local(seed: int, shape: Sequence[int]) -> torch.Tensor:
    """The seed's first numbers, torch's global generator left alone."""
    return _draw(shape, create_generator(seed))


class ImageRNG:
    """A batch's noises [B, *shape], one stream a seed: first the start noise, then the samplers' noises."""

    def __init__(self, shape: Sequence[int], seeds: Sequence[int]) -> None:
        self.shape, self.seeds = tuple(map(int, shape)), seeds
        self.generators = [create_generator(seed) for seed in seeds]
        self.is_first = True

    def next(self) -> torch.Tensor:
        noises = torch.stack([_draw(self.shape, generator) for generator in self.generators])
        if self.is_first:
            self.is_first = False
            torch.manual_seed(self.seeds[-1])  # img2img's latent sampling draws from the global generator
            if delta := shared.opts.eta_noise_seed_delta:
                self.generators = [create_generator(seed + delta) for seed in self.seeds]
        return noises
