"""Noise from seeds. Each image of a batch has its own generator, so that an image is the same alone and in any
batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from modules import devices, rng_philox, shared

Generator = torch.Generator | rng_philox.Generator
nv_rng: rng_philox.Generator | None = None


def _noise_device() -> torch.device:
    return devices.cpu if shared.opts.randn_source == "CPU" else devices.device


def _draw(shape: Sequence[int], generator: Generator | None) -> torch.Tensor:
    if shared.opts.randn_source == "NV":
        source = generator or nv_rng
        assert isinstance(source, rng_philox.Generator)
        return torch.asarray(source.randn(tuple(shape)), device=devices.device)
    assert generator is None or isinstance(generator, torch.Generator)
    return torch.randn(tuple(shape), device=_noise_device(), generator=generator).to(devices.device)


def manual_seed(seed: int) -> None:
    global nv_rng
    if shared.opts.randn_source == "NV":
        nv_rng = rng_philox.Generator(seed)
    else:
        torch.manual_seed(seed)


def randn(seed: int, shape: Sequence[int], generator: Generator | None = None) -> torch.Tensor:
    """Standard normal numbers; seeds torch's global generator too, which img2img's latent sampling then draws from."""
    manual_seed(seed)
    return _draw(shape, generator)


def randn_local(seed: int, shape: Sequence[int]) -> torch.Tensor:
    """The seed's first numbers, the global generator left alone."""
    return _draw(shape, create_generator(int(seed)))


def randn_like(x: torch.Tensor) -> torch.Tensor:
    return _draw(x.shape, None).to(device=x.device, dtype=x.dtype)


def randn_without_seed(shape: Sequence[int], generator: Generator | None = None) -> torch.Tensor:
    return _draw(shape, generator)


def create_generator(seed: int) -> Generator:
    if shared.opts.randn_source == "NV":
        return rng_philox.Generator(seed)
    return torch.Generator(_noise_device()).manual_seed(int(seed))


def slerp(val: float, low: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
    """Spherical interpolation between two noises [C, H, W], taken along dimension 1 as the host takes it; linear where
    nearly parallel.
    """
    unit_low = low / torch.norm(low, dim=1, keepdim=True)
    unit_high = high / torch.norm(high, dim=1, keepdim=True)
    dot = (unit_low * unit_high).sum(1)
    if dot.mean() > 0.9995:
        return low * val + high * (1 - val)
    angle = torch.acos(dot)
    of_low, of_high = ((torch.sin(part * angle) / torch.sin(angle)).unsqueeze(1) for part in (1.0 - val, val))
    return of_low * low + of_high * high


def _paste_centred(noise: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Lays noise [C, h, w] into the middle of target [C, H, W], cropping or leaving a border in each direction."""
    (h, w), (big_h, big_w) = noise.shape[1:], target.shape[1:]
    dx, dy = (big_w - w) // 2, (big_h - h) // 2
    width = w if dx >= 0 else w + 2 * dx
    height = h if dy >= 0 else h + 2 * dy
    tx, ty, sx, sy = max(dx, 0), max(dy, 0), max(-dx, 0), max(-dy, 0)
    target[:, ty : ty + height, tx : tx + width] = noise[:, sy : sy + height, sx : sx + width]
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
        self.shape = tuple(map(int, shape))
        self.seeds = seeds
        self.subseeds = subseeds
        self.subseed_strength = subseed_strength
        self.seed_resize_from_h = seed_resize_from_h
        self.seed_resize_from_w = seed_resize_from_w
        self.generators = self._generators()
        self.is_first = True

    def _generators(self, delta: int = 0) -> list[Generator]:
        return [create_generator(seed + delta) for seed in self.seeds]

    def _varies(self) -> bool:
        return self.subseeds is not None and self.subseed_strength != 0

    def _variation(self, i: int, noise_shape: tuple[int, ...]) -> torch.Tensor:
        """Of pictures that have no variation seed of their own it is seed 0's."""
        given = [] if self.subseeds is None else self.subseeds
        return randn(given[i] if i < len(given) else 0, noise_shape)

    def _first_of(self, i: int, noise_shape: tuple[int, ...]) -> torch.Tensor:
        seed, generator = self.seeds[i], self.generators[i]
        # drawn first: both draws seed torch's global generator, and the seed itself is to have the last word
        variation = self._variation(i, noise_shape) if self._varies() else None
        noise = randn(seed, noise_shape, generator=generator if noise_shape == self.shape else None)
        if variation is not None:
            noise = slerp(self.subseed_strength, noise, variation)
        if noise_shape != self.shape:
            noise = _paste_centred(noise, randn(seed, self.shape, generator=generator))
        return noise

    def first(self) -> torch.Tensor:
        resized = self.seed_resize_from_h > 0 and self.seed_resize_from_w > 0
        noise_shape = (
            (self.shape[0], int(self.seed_resize_from_h) // 8, int(self.seed_resize_from_w // 8))
            if resized
            else self.shape
        )
        noises = [self._first_of(i, noise_shape) for i in range(len(self.seeds))]
        delta = shared.opts.eta_noise_seed_delta or 0
        if delta:
            self.generators = self._generators(delta)
        return torch.stack(noises).to(shared.device)

    def next(self) -> torch.Tensor:
        if self.is_first:
            self.is_first = False
            return self.first()
        return torch.stack([randn_without_seed(self.shape, generator=g) for g in self.generators]).to(shared.device)


def of_request(p: Any, shape: Sequence[int]) -> ImageRNG:
    """The noises of a request's current batch, for latents [C, h, w] of this shape."""
    variation = ("subseeds", "subseed_strength", "seed_resize_from_h", "seed_resize_from_w")
    return ImageRNG(shape, p.seeds, **{name: getattr(p, name) for name in variation})


devices.randn = randn  # type: ignore[attr-defined]
devices.randn_local = randn_local  # type: ignore[attr-defined]
devices.randn_like = randn_like  # type: ignore[attr-defined]
devices.randn_without_seed = randn_without_seed  # type: ignore[attr-defined]
devices.manual_seed = manual_seed  # type: ignore[attr-defined]
