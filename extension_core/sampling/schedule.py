"""Noise levels: sigma and timestep of one trained schedule, and the timesteps families were trained on.

Two units are in use in the hosts. k-diffusion samplers speak of `sigma` (variance-exploding, x = x0 + sigma * eps) and
end at 0; DDIM, PLMS and UniPC speak of `timestep` (variance-preserving, x = sqrt(a) x0 + sqrt(1 - a) eps).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Unit = Literal["sigma", "timestep"]
GridName = Literal["lcm", "trailing", "host", "single_399", "single_800"]
Levels = tuple[float, ...]
_TIMESTEPS = re.compile(r"[0-9]{1,3}(,[0-9]{1,3}){0,998}")


@dataclass(frozen=True)
class OwnTimesteps:
    """Those that a file says it was trained for; with another step count it is sampled as its family.

    Attributes:
        timesteps: falling, one for each step.
    """

    timesteps: tuple[int, ...]
    otherwise: GridName

    @classmethod
    def read(cls, text: str, otherwise: GridName) -> OwnTimesteps | None:
        """From metadata like "999,749,499,249", None for what is no such list."""
        if not _TIMESTEPS.fullmatch(text):
            return None
        timesteps = tuple(map(int, text.split(",")))
        return cls(timesteps, otherwise) if all(above > below for above, below in pairwise(timesteps)) else None


Grid = GridName | OwnTimesteps
TRAINING_TIMESTEPS = 1000
LCM_ORIGINAL_STEPS = 50
# Grids of files made for one step that does not start at the top, and the grid for other step counts.
SINGLE_STEP_GRIDS: dict[GridName, tuple[int, GridName]] = {"single_399": (399, "lcm"), "single_800": (800, "trailing")}


@dataclass(frozen=True)
class NoiseSchedule:
    """The discrete schedule a model was trained on.

    Attributes:
        sigmas: [T] float64, ascending; `sigmas[t]` is the noise level of timestep t.
    """

    sigmas: NDArray[np.float64]

    @classmethod
    def from_alphas_cumprod(cls, alphas_cumprod: Sequence[float] | NDArray[np.float64]) -> NoiseSchedule:
        """From [T] cumulative alphas, descending: sigma = sqrt((1 - a) / a)."""
        alphas = np.asarray(alphas_cumprod, dtype=np.float64)
        return cls(np.sqrt((1.0 - alphas) / alphas))

    @classmethod
    def stable_diffusion(cls) -> NoiseSchedule:
        """The schedule of SD 1.x, 2.x and SDXL: "scaled linear" betas from 0.00085 to 0.012 in 1000 steps."""
        betas = np.linspace(0.00085**0.5, 0.012**0.5, TRAINING_TIMESTEPS, dtype=np.float64) ** 2
        return cls.from_alphas_cumprod(np.cumprod(1.0 - betas))

    def sigma(self, timestep: float) -> float:
        """Sigma at a timestep, log-linear between the trained ones (as k_diffusion.external.DiscreteSchedule)."""
        steps = np.arange(len(self.sigmas))
        return float(np.exp(np.interp(timestep, steps, np.log(self.sigmas))))

    def timestep(self, sigma: float) -> float:
        """Timestep at a sigma, the inverse of `sigma`; 0 at and below the smallest trained sigma."""
        if sigma <= self.sigmas[0]:
            return 0.0
        return float(np.interp(np.log(sigma), np.log(self.sigmas), np.arange(len(self.sigmas))))

    def in_unit(self, timestep: float, unit: Unit) -> float:
        """A timestep as a level of the given unit."""
        return self.sigma(timestep) if unit == "sigma" else float(timestep)

    def to_timestep(self, level: float, unit: Unit) -> float:
        """A level of the given unit as a timestep."""
        return self.timestep(level) if unit == "sigma" else float(level)

    def to_sigma(self, level: float, unit: Unit) -> float:
        """A level of the given unit as a sigma; a k-diffusion level of 0 stays 0."""
        return level if unit == "sigma" else self.sigma(level)


def lcm_timesteps(steps: int) -> list[int]:
    """Timesteps of diffusers' `LCMScheduler` with its 50 original steps: 999, 759, 499, 259 for four.

    LCM is trained at those 50 alone: diffusers refuses more steps, here some come more than once.
    """
    stride = TRAINING_TIMESTEPS // LCM_ORIGINAL_STEPS
    original = np.arange(1, LCM_ORIGINAL_STEPS + 1)[::-1] * stride - 1
    picked = np.floor(np.linspace(0, LCM_ORIGINAL_STEPS, num=steps, endpoint=False)).astype(int)
    return [int(t) for t in original[picked]]


def trailing_timesteps(steps: int) -> list[int]:
    """Timesteps of diffusers' "trailing" spacing: 999, 749, 499, 249 for four; beyond 1000 some come more than once."""
    spaced = np.arange(TRAINING_TIMESTEPS, 0, -TRAINING_TIMESTEPS / steps)[:steps]  # one too many by rounding, at times
    return [max(int(t), 0) for t in np.round(spaced) - 1]


def family_levels(grid: Grid, steps: int, schedule: NoiseSchedule, unit: Unit) -> Levels:
    """The `steps + 1` levels, descending, of a family's own schedule; the last is 0 in either unit.

    Where the family has fewer levels than steps, some are repeated, so that the hosts may count on the length.
    """
    timesteps = _family_timesteps(grid, steps)
    known = {t: schedule.in_unit(t, unit) for t in set(timesteps)}
    return (*(known[t] for t in timesteps), 0.0)


def _family_timesteps(grid: Grid, steps: int) -> list[int]:
    if isinstance(grid, OwnTimesteps):
        return list(grid.timesteps) if steps == len(grid.timesteps) else _family_timesteps(grid.otherwise, steps)
    single, several = SINGLE_STEP_GRIDS.get(grid, (None, grid))
    if single is not None and steps == 1:
        return [single]
    return lcm_timesteps(steps) if several == "lcm" else trailing_timesteps(steps)


def starts_below_top(grid: Grid) -> bool:
    """Whether the first of its timesteps may lie below the noisiest."""
    if isinstance(grid, OwnTimesteps):
        return grid.timesteps[0] < TRAINING_TIMESTEPS - 1
    return grid in SINGLE_STEP_GRIDS


def leaves_lcms_timesteps(grid: Grid) -> bool:
    """Whether some of its timesteps are not among the 50 of LCM's training."""
    return grid == "trailing" or isinstance(grid, OwnTimesteps)


def finer(levels: Levels, steps: int, schedule: NoiseSchedule, unit: Unit, whole_timesteps: bool) -> Levels:
    """The same span in `steps` steps, uniform in timestep; both ends are kept exactly (paper, Fig. 7c)."""
    if steps == len(levels) - 1:
        return levels
    start, end = (schedule.to_timestep(level, unit) for level in (levels[0], levels[-1]))
    inner = np.linspace(start, end, steps + 1)[1:-1]
    if whole_timesteps:
        inner = np.round(inner)
    return (levels[0], *(schedule.in_unit(float(t), unit) for t in inner), levels[-1])
