"""Sampling with few or many steps, every state kept: what a teacher or a student meets on its own way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from extension_core.training.denoiser import Conditioning, Denoised, Denoising
from extension_core.training.noise_schedule import NoiseSchedule

Sampler = Literal["ddim", "renoise"]
"""Between two steps: the predicted noise is kept (DDIM with eta 0), or fresh noise is added to x0 (LCM, DMD2)."""


class Step(NamedTuple):
    """One step of a rollout.

    Args:
        z: the state [B, ...] that the network was given.
        timestep: its own, the same for all rows.
        x0: the image [B, ...] predicted there.
    """

    z: Tensor
    timestep: int
    x0: Tensor


def rollout(
    denoising: Denoising,
    schedule: NoiseSchedule,
    timesteps: Sequence[int],
    z: Tensor,
    conditioning: Conditioning,
    generator: torch.Generator,
    sampler: Sampler = "ddim",
) -> Iterator[Step]:
    """The steps from noise z [B, ...] along falling timesteps, as they are made; the last `x0` is the sample."""
    for index, timestep in enumerate(timesteps):
        found = denoising(z, _rows(timestep, z), conditioning)
        yield Step(z, timestep, found.x0)
        if index + 1 < len(timesteps):
            z = _onward(found, schedule, timesteps[index + 1], generator, sampler)


def states(
    denoising: Denoising,
    schedule: NoiseSchedule,
    timesteps: Sequence[int],
    z: Tensor,
    conditioning: Conditioning,
    generator: torch.Generator,
    sampler: Sampler = "ddim",
) -> Iterator[tuple[Tensor, int]]:
    """The states [B, ...] of a rollout and their timesteps; the network is not asked at the last one."""
    for index, timestep in enumerate(timesteps):
        yield z, timestep
        if index + 1 < len(timesteps):
            found = denoising(z, _rows(timestep, z), conditioning)
            z = _onward(found, schedule, timesteps[index + 1], generator, sampler)


@torch.no_grad()
def sample(
    denoising: Denoising,
    schedule: NoiseSchedule,
    timesteps: Sequence[int],
    z: Tensor,
    conditioning: Conditioning,
    generator: torch.Generator,
    sampler: Sampler = "ddim",
) -> Tensor:
    """Images [B, ...] from noise z [B, ...]."""
    *_, last = rollout(denoising, schedule, timesteps, z, conditioning, generator, sampler)
    return last.x0


def ddim_steps(
    denoising: Denoising,
    schedule: NoiseSchedule,
    timesteps: Sequence[Tensor],
    z: Tensor,
    conditioning: Conditioning,
) -> Tensor:
    """The state [B, ...] at the last of several timesteps [B] each (`CLEAN` allowed there), from z at the first."""
    for here, then in pairwise(timesteps):
        x0, eps = denoising(z, here, conditioning)
        z = schedule.add_noise(x0, then, eps)
    return z


def _onward(
    found: Denoised, schedule: NoiseSchedule, then: int, generator: torch.Generator, sampler: Sampler
) -> Tensor:
    x0, eps = found
    noise = eps if sampler == "ddim" else torch.randn(x0.shape, generator=generator).to(x0)
    return schedule.add_noise(x0, _rows(then, x0), noise)


def _rows(timestep: int, z: Tensor) -> Tensor:
    return torch.full((len(z),), timestep, device=z.device)
