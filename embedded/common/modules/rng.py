"""Noise from seeds. Each image of a batch has its own generator, so that an image is the same alone and in any
batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from modules import devices, shared

opt_C, opt_f = 4, 8
"""Channels of latents, and pixels of the picture along a side of one of theirs."""


class DecodedSamples(list[torch.Tensor]):
    """Pictures [3, H, W] in -1..1 that stand where latents are expected."""

    already_decoded = True


def _source() -> torch.device:
    """Where numbers are drawn; a graphics card draws others than the processor does."""
    return devices.cpu if shared.opts.randn_source == "CPU" else devices.device


def _draw(shape: Sequence[int], generator: torch.Generator | None) -> torch.Tensor:
    return torch.randn(tuple(shape), generator=generator, device=_source()).to(devices.device)


def create_generator(seed: int) -> torch.Generator:
    return torch.Generator(_source()).manual_seed(int(seed))


def randn(seed: int, shape: Sequence[int], generator: torch.Generator | None = None) -> torch.Tensor:
    """Standard normal numbers; seeds torch's global generator too, which img2img's latent sampling then draws from."""
    torch.manual_seed(seed)
    return _draw(shape, generator)


def randn_local(seed: int, shape: Sequence[int]) -> torch.Tensor:
    """The seed's first numbers, the global generator left alone."""
    return _draw(shape, create_generator(seed))


def slerp(val: float, low: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
    """Spherical interpolation between two noises [C, H, W], taken along dimension 1 as the hosts take it; linear where
    nearly parallel.
    """
    cosine = (
        torch.nn.functional.normalize(low, dim=1, eps=0).mul(torch.nn.functional.normalize(high, dim=1, eps=0)).sum(1)
    )
    if cosine.mean() > 0.9995:
        return high * (1 - val) + low * val
    angle = cosine.acos()
    shares = (torch.sin(part * angle) / angle.sin() for part in (1.0 - val, val))
    return sum(share.unsqueeze(1) * noise for share, noise in zip(shares, (low, high), strict=True))  # type: ignore[return-value]


class ImageRNG:
    """A batch's noises, one stream a seed. The first call of `next` gives the start noise [B, *shape], varied where
    there are variation seeds; later calls the samplers' noises.
    """

    def __init__(
        self,
        shape: Sequence[int],
        seeds: Sequence[int],
        subseeds: Sequence[int] | None = None,
        subseed_strength: float = 0.0,
    ) -> None:
        self.shape, self.seeds = tuple(map(int, shape)), seeds
        self.subseeds, self.subseed_strength = subseeds or [], subseed_strength
        self.generators = [create_generator(seed) for seed in seeds]
        self.is_first = True

    def _start(self, place: int) -> torch.Tensor:
        """The last draw seeds torch's global generator with the seed itself."""
        variation = None
        if self.subseeds and self.subseed_strength:
            variation = randn(self.subseeds[place] if place < len(self.subseeds) else 0, self.shape)
        noise = randn(self.seeds[place], self.shape, generator=self.generators[place])
        return noise if variation is None else slerp(self.subseed_strength, noise, variation)

    def next(self) -> torch.Tensor:
        if not self.is_first:
            return torch.stack([_draw(self.shape, generator) for generator in self.generators])
        self.is_first = False
        noises = torch.stack([self._start(place) for place in range(len(self.seeds))])
        if delta := shared.opts.eta_noise_seed_delta:
            self.generators = [create_generator(seed + delta) for seed in self.seeds]
        return noises


def of_request(p: Any, shape: Sequence[int]) -> ImageRNG:
    """The noises of a request's current batch, for latents [C, h, w] of this shape."""
    return ImageRNG(shape, p.seeds, p.subseeds, p.subseed_strength)
