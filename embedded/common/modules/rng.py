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


def _centred(noise: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Noise [C, h, w] in the middle of target [C, H, W], cropped or with a border in each direction."""
    into, out = [slice(None)], [slice(None)]
    for small, big in zip(noise.shape[1:], target.shape[1:], strict=True):
        offset = (big - small) // 2
        length = small + 2 * min(offset, 0)
        into.append(slice(max(offset, 0), max(offset, 0) + length))
        out.append(slice(max(-offset, 0), max(-offset, 0) + length))
    target[tuple(into)] = noise[tuple(out)]
    return target


class ImageRNG:
    """A batch's noises, one stream a seed. The first call of `next` gives the start noise [B, *shape], with variation
    seed and size of origin taken into account; later calls the samplers' noises.
    """

    def __init__(
        self,
        shape: Sequence[int],
        seeds: Sequence[int],
        subseeds: Sequence[int] | None = None,
        subseed_strength: float = 0.0,
        seed_resize_from_h: int = 0,
        seed_resize_from_w: int = 0,
    ) -> None:
        self.shape, self.seeds = tuple(map(int, shape)), seeds
        self.subseeds, self.subseed_strength = subseeds or [], subseed_strength
        self.seed_resize_from_h, self.seed_resize_from_w = seed_resize_from_h, seed_resize_from_w
        self.generators = [create_generator(seed) for seed in seeds]
        self.is_first = True

    def _start(self, place: int) -> torch.Tensor:
        """The last draw seeds torch's global generator with the seed itself."""
        seed, generator, origin = self.seeds[place], self.generators[place], self.shape
        if min(self.seed_resize_from_h, self.seed_resize_from_w) > 0:
            sides = (self.seed_resize_from_h, self.seed_resize_from_w)
            origin = (self.shape[0], *(int(side) // opt_f for side in sides))
        variation = None
        if self.subseeds and self.subseed_strength:
            variation = randn(self.subseeds[place] if place < len(self.subseeds) else 0, origin)
        noise = randn(seed, origin, generator=generator if origin == self.shape else None)
        if variation is not None:
            noise = slerp(self.subseed_strength, noise, variation)
        return noise if origin == self.shape else _centred(noise, randn(seed, self.shape, generator=generator))

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
    resized = (p.seed_resize_from_h, p.seed_resize_from_w)
    return ImageRNG(shape, p.seeds, p.subseeds, p.subseed_strength, *resized)
