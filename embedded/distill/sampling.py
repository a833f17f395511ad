"""Samplers of the trainer, in plain tensors: x0 prediction, LCM-type and DDIM steps on SD's noise schedule."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from embedded.networks.noise import alphas_cumprod

ALPHAS = alphas_cumprod().float()

Denoiser = Callable[[Tensor, Tensor, Tensor], Tensor]
"""eps [B, 4, h, w] of (x [B, 4, h, w], timesteps [B], context [B, T, D])."""


def signal_noise(timesteps: Tensor) -> tuple[Tensor, Tensor]:
    """sqrt(a_t) and sqrt(1 - a_t), each [B, 1, 1, 1]; a timestep of -1 is the clean image."""
    power = torch.where(timesteps < 0, torch.ones(()), ALPHAS[timesteps.clamp(min=0)])[:, None, None, None]
    return power.sqrt(), (1 - power).sqrt()


def add_noise(x0: Tensor, timesteps: Tensor, noise: Tensor) -> Tensor:
    signal, level = signal_noise(timesteps)
    return signal * x0 + level * noise


def x0_of_eps(x: Tensor, timesteps: Tensor, eps: Tensor) -> Tensor:
    signal, level = signal_noise(timesteps)
    return (x - level * eps) / signal


def guided(unet: Denoiser, x: Tensor, timesteps: Tensor, context: Tensor, uncond: Tensor, cfg: float) -> Tensor:
    """Eps under classifier-free guidance; at CFG 1 the unconditional half is not computed."""
    if cfg == 1:
        return unet(x, timesteps, context)
    both = unet(torch.cat([x, x]), torch.cat([timesteps, timesteps]), torch.cat([uncond, context]))
    without, with_prompt = both.chunk(2)
    return without + cfg * (with_prompt - without)


@dataclass(frozen=True)
class Step:
    """One step: ``unet`` at ``timestep`` with guidance ``cfg``, then to ``next_timestep`` (-1: clean).

    ``fresh`` draws new noise for the next level (LCM-type); otherwise the predicted noise is kept (DDIM, Euler).
    """

    unet: Denoiser
    timestep: int
    next_timestep: int
    cfg: float = 1.0
    fresh: bool = False


def run_steps(steps: Sequence[Step], x: Tensor, context: Tensor, uncond: Tensor, noises: Sequence[Tensor]) -> Tensor:
    """The clean latents that ``steps`` reach from noise x [B, 4, h, w]; ``noises[i]`` is step i's fresh noise."""
    for index, step in enumerate(steps):
        timesteps = torch.full((len(x),), step.timestep)
        eps = guided(step.unet, x, timesteps, context, uncond, step.cfg)
        x0 = x0_of_eps(x, timesteps, eps)
        following = torch.full((len(x),), step.next_timestep)
        x = add_noise(x0, following, noises[index] if step.fresh else eps)
    return x


def base_steps(unet: Denoiser, count: int, cfg: float) -> list[Step]:
    """DDIM from 999 to the clean image in ``count`` evenly spaced ("trailing") steps."""
    timesteps = [round(1000 - index * 1000 / count) - 1 for index in range(count)] + [-1]
    return [Step(unet, now, then, cfg) for now, then in pairwise(timesteps)]
