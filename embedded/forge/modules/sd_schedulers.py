"""Noise schedules by name, with those that this host has beyond the common ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from modules import shared
from modules.sd_schedule_functions import Scheduler, common_schedulers, normal_scheduler, sgm_uniform, to_d

# GITS (Chen et al. 2024), and "Align your steps" as published for 10 steps: for SD 1.x and for SDXL.
_GITS = (
    (14.615, 4.617, 2.507, 1.236, 0.702, 0.402, 0.24, 0.156, 0.104, 0.094, 0.029),
    (14.615, 4.734, 2.567, 1.529, 0.987, 0.652, 0.418, 0.268, 0.179, 0.127, 0.029),
)
_AYS_11 = (
    (14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029),
    (14.615, 6.315, 3.771, 2.181, 1.342, 0.862, 0.555, 0.38, 0.234, 0.113, 0.029),
)
# Their refinement to 32 levels, which users of this host know.
_AYS_32 = (
    (
        *(14.615, 11.23951352, 8.64363081, 6.64729424, 5.57250862, 4.71648546, 3.9919603, 3.5195609),
        *(3.13490466, 2.79228788, 2.48773628, 2.21663865, 1.97508351, 1.7793172, 1.61475335, 1.46540953),
        *(1.314849, 1.16642497, 1.03475547, 0.91573744, 0.80748169, 0.71202361, 0.621739, 0.53065202),
        *(0.45290960, 0.37491455, 0.27461819, 0.20115290, 0.14105873, 0.06682881, 0.03166121, 0.015),
    ),
    (
        *(14.615, 11.1491618, 8.50522127, 6.48827151, 5.43707402, 4.60398649, 3.898547, 3.27407457),
        *(2.74396527, 2.29969, 1.95448514, 1.67108715, 1.42878152, 1.23181009, 1.0678965, 0.92579443),
        *(0.80290886, 0.69660121, 0.60436907, 0.52852552, 0.46773344, 0.41393379, 0.36258186, 0.31008517),
        *(0.26518925, 0.22326461, 0.17653877, 0.13959192, 0.10587381, 0.05519369, 0.02877334, 0.015),
    ),
)


def _resampled(levels: tuple[float, ...], n: int) -> list[float]:
    """n of them, between two by the logarithm."""
    if n == len(levels):
        return list(levels)
    places, wanted = np.linspace(0, 1, len(levels)), np.linspace(0, 1, n)
    return list(np.exp(np.interp(wanted, places, np.log(levels[::-1])))[::-1])


def _published(tables: tuple[tuple[float, ...], ...]) -> Any:
    def schedule(n: int, sigma_min: float, sigma_max: float, device: torch.device) -> torch.Tensor:
        levels = _resampled(tables[1 if shared.sd_model.is_sdxl else 0], n)
        return torch.FloatTensor([*levels, 0.0]).to(device)

    return schedule


def turbo_scheduler(n: int, sigma_min: float, sigma_max: float, inner_model: Any, device: torch.device) -> torch.Tensor:
    """Trailing timesteps."""
    predictor = inner_model.inner_model.forge_objects.unet.model.predictor
    rising = (torch.arange(1, n + 1) * (1000.0 / n) - 1).round().long().clip(0, 999)
    return torch.cat([predictor.sigma(rising.flip(0)), torch.zeros(1)]).to(device)


schedulers = [
    *common_schedulers,
    Scheduler("turbo", "Turbo", turbo_scheduler, need_inner_model=True),
    Scheduler("align_your_steps_GITS", "Align Your Steps GITS", _published(_GITS)),
    Scheduler("align_your_steps_11", "Align Your Steps 11", _published(_AYS_11)),
    Scheduler("align_your_steps_32", "Align Your Steps 32", _published(_AYS_32)),
]
schedulers_map = {known_as: schedule for schedule in schedulers for known_as in (schedule.name, schedule.label)}

__all__ = ["Scheduler", "normal_scheduler", "schedulers", "schedulers_map", "sgm_uniform", "to_d"]
