"""Noise schedules by name. All return sigmas [n + 1], falling, the last 0, on `device`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from k_diffusion import sampling


@dataclass
class Scheduler:
    name: str
    label: str
    function: Callable[..., torch.Tensor] | None
    need_inner_model: bool = False


def to_d(x: torch.Tensor, sigma: Any, denoised: torch.Tensor) -> torch.Tensor:
    """The ODE's derivative, in place of k-diffusion's own, which rounds otherwise."""
    return (x - denoised) / sigma


sampling.to_d = to_d


def sgm_uniform(n: int, sigma_min: float, sigma_max: float, inner_model: Any, device: torch.device) -> torch.Tensor:
    """Evenly spaced times, the last left out: "trailing" timesteps, as distilled models are trained on."""
    bounds = [inner_model.sigma_to_t(torch.tensor(sigma)) for sigma in (sigma_max, sigma_min)]
    times = torch.linspace(*bounds, n + 1)[:n]
    return sampling.append_zero(torch.stack([inner_model.t_to_sigma(t) for t in times]).float()).to(device)


def simple(n: int, sigma_min: float, sigma_max: float, inner_model: Any, device: torch.device) -> torch.Tensor:
    """Every so many-th trained sigma, from the highest on."""
    trained = inner_model.sigmas.flip(0)
    places = [int(i * (len(trained) / n)) for i in range(n)]
    return sampling.append_zero(trained[places].float()).to(device)


schedulers = [
    Scheduler("automatic", "Automatic", None),
    Scheduler("karras", "Karras", sampling.get_sigmas_karras),
    Scheduler("exponential", "Exponential", sampling.get_sigmas_exponential),
    Scheduler("sgm_uniform", "SGM Uniform", sgm_uniform, need_inner_model=True),
    Scheduler("simple", "Simple", simple, need_inner_model=True),
]
schedulers_map = {name: schedule for schedule in schedulers for name in (schedule.name, schedule.label)}
