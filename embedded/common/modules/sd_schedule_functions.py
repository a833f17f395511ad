"""Noise schedules by name. All return sigmas [n + 1], falling, the last 0, on `device`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import k_diffusion.sampling
import numpy as np
import torch
from scipy import stats

from modules import shared


def to_d(x: torch.Tensor, sigma: Any, denoised: torch.Tensor) -> torch.Tensor:
    """The ODE's derivative. Replaces k-diffusion's own, which divides by a reshaped sigma; the host does the same."""
    return (x - denoised) / sigma


k_diffusion.sampling.to_d = to_d


@dataclasses.dataclass
class Scheduler:
    name: str
    label: str
    function: Callable[..., torch.Tensor] | None
    default_rho: float = -1
    need_inner_model: bool = False
    aliases: list[str] | None = None


def _sigmas(values: list[float], device: torch.device) -> torch.Tensor:
    return torch.FloatTensor([*values, 0.0]).to(device)


def uniform(n: int, sigma_min: float, sigma_max: float, inner_model: Any, device: torch.device) -> torch.Tensor:
    return inner_model.get_sigmas(n).to(device)


def _time_bounds(sigma_min: float, sigma_max: float, inner_model: Any) -> tuple[torch.Tensor, torch.Tensor]:
    return inner_model.sigma_to_t(torch.tensor(sigma_max)), inner_model.sigma_to_t(torch.tensor(sigma_min))


def sgm_uniform(n: int, sigma_min: float, sigma_max: float, inner_model: Any, device: torch.device) -> torch.Tensor:
    """Evenly spaced times, the last left out: how SDXL's own code and "trailing" timesteps of distilled models are
    spaced.
    """
    start, end = _time_bounds(sigma_min, sigma_max, inner_model)
    return _sigmas([inner_model.t_to_sigma(t) for t in torch.linspace(start, end, n + 1)[:-1]], device)


def normal_scheduler(
    n: int,
    sigma_min: float,
    sigma_max: float,
    inner_model: Any,
    device: torch.device,
    sgm: bool = False,
    floor: bool = False,
) -> torch.Tensor:
    del floor
    start, end = _time_bounds(sigma_min, sigma_max, inner_model)
    times = torch.linspace(start, end, n + 1)[:-1] if sgm else torch.linspace(start, end, n)
    return _sigmas([inner_model.t_to_sigma(t) for t in times], device)


_AYS_SD1 = [14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029]
_AYS_SDXL = [14.615, 6.315, 3.771, 2.181, 1.342, 0.862, 0.555, 0.380, 0.234, 0.113, 0.029]


def get_align_your_steps_sigmas(n: int, sigma_min: float, sigma_max: float, device: torch.device) -> torch.Tensor:
    """The published schedule (Sabour et al. 2024, "Align your steps"), log-linearly resampled to n values where n is
    not 11.
    """
    sigmas = _AYS_SDXL if shared.sd_model.is_sdxl else _AYS_SD1
    if n != len(sigmas):
        places = np.linspace(0, 1, len(sigmas))
        resampled = np.interp(np.linspace(0, 1, n), places, np.log(sigmas[::-1]))
        sigmas = list(np.exp(resampled)[::-1])
    return _sigmas(sigmas, device)


def kl_optimal(n: int, sigma_min: float, sigma_max: float, device: torch.device) -> torch.Tensor:
    """Sigmas whose arcus tangens is evenly spaced (Sabour et al. 2024, appendix). Ends at sigma_min, not at 0."""
    low = torch.arctan(torch.tensor(sigma_min, device=device))
    high = torch.arctan(torch.tensor(sigma_max, device=device))
    part = torch.arange(n + 1, device=device) / n
    return torch.tan(part * low + (1.0 - part) * high)


def simple_scheduler(
    n: int, sigma_min: float, sigma_max: float, inner_model: Any, device: torch.device
) -> torch.Tensor:
    stride = len(inner_model.sigmas) / n
    return _sigmas([float(inner_model.sigmas[-(1 + int(i * stride))]) for i in range(n)], device)


def ddim_scheduler(n: int, sigma_min: float, sigma_max: float, inner_model: Any, device: torch.device) -> torch.Tensor:
    """Every (T // n)-th sigma from the second on, so often more than n of them."""
    stride = max(len(inner_model.sigmas) // n, 1)
    return _sigmas([float(inner_model.sigmas[i]) for i in range(1, len(inner_model.sigmas), stride)][::-1], device)


def beta_scheduler(n: int, sigma_min: float, sigma_max: float, inner_model: Any, device: torch.device) -> torch.Tensor:
    """Quantiles of a beta distribution (Lee et al. 2024, "Beta sampling is all you need"), applied to sigma."""
    quantiles = stats.beta.ppf(1 - np.linspace(0, 1, n), shared.opts.beta_dist_alpha, shared.opts.beta_dist_beta)
    return _sigmas([sigma_min + x * (sigma_max - sigma_min) for x in quantiles], device)


common_schedulers = [
    Scheduler("automatic", "Automatic", None),
    Scheduler("uniform", "Uniform", uniform, need_inner_model=True),
    Scheduler("karras", "Karras", k_diffusion.sampling.get_sigmas_karras, default_rho=7.0),
    Scheduler("exponential", "Exponential", k_diffusion.sampling.get_sigmas_exponential),
    Scheduler("polyexponential", "Polyexponential", k_diffusion.sampling.get_sigmas_polyexponential, default_rho=1.0),
    Scheduler("sgm_uniform", "SGM Uniform", sgm_uniform, need_inner_model=True, aliases=["SGMUniform"]),
    Scheduler("kl_optimal", "KL Optimal", kl_optimal),
    Scheduler("align_your_steps", "Align Your Steps", get_align_your_steps_sigmas),
    Scheduler("simple", "Simple", simple_scheduler, need_inner_model=True),
    Scheduler("normal", "Normal", normal_scheduler, need_inner_model=True),
    Scheduler("ddim", "DDIM", ddim_scheduler, need_inner_model=True),
    Scheduler("beta", "Beta", beta_scheduler, need_inner_model=True),
]
