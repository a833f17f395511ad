"""The noise schedule of Stable Diffusion 1.x: betas linear in their square root."""

from __future__ import annotations

import math

import torch
from torch import Tensor

TIMESTEPS = 1000
LINEAR_START = 0.00085
LINEAR_END = 0.0120


def betas(timesteps: int = TIMESTEPS, start: float = LINEAR_START, end: float = LINEAR_END) -> Tensor:
    """Betas [T], float64 (ldm's "linear" schedule, diffusers' "scaled_linear")."""
    return torch.linspace(math.sqrt(start), math.sqrt(end), timesteps, dtype=torch.float64) ** 2


def alphas_cumprod(timesteps: int = TIMESTEPS, start: float = LINEAR_START, end: float = LINEAR_END) -> Tensor:
    """Cumulated signal power [T], float64: x_t = sqrt(a_t) x0 + sqrt(1 - a_t) eps."""
    return torch.cumprod(1.0 - betas(timesteps, start, end), dim=0)


def sigmas(timesteps: int = TIMESTEPS, start: float = LINEAR_START, end: float = LINEAR_END) -> Tensor:
    """Noise level over signal level [T], float64: sigma_t = sqrt((1 - a_t) / a_t), as k-diffusion counts it."""
    power = alphas_cumprod(timesteps, start, end)
    return ((1.0 - power) / power) ** 0.5


def timestep_embedding(timesteps: Tensor, dim: int, max_period: float = 10000.0) -> Tensor:
    """Sinusoidal embedding of timesteps [B] (fractions allowed) as [B, dim], cosines first as ldm has them."""
    half = dim // 2
    exponents = torch.arange(half, dtype=torch.float32, device=timesteps.device) / half
    angles = timesteps.float()[:, None] * torch.exp(-math.log(max_period) * exponents)[None]
    embedding = torch.cat([angles.cos(), angles.sin()], dim=-1)
    return torch.nn.functional.pad(embedding, (0, dim % 2))
