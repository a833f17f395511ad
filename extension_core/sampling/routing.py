"""Which model runs: a function of the noise level alone, never of a call or step counter.

Second-order samplers call the denoiser twice a step and restart samplers go back up, so counting would be wrong.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

from extension_core.sampling.schedule import Levels

# Half precision rounds a sigma by up to 0.05 %, DPM-Solver's log sigma by less; neighbouring timesteps differ by 0.5 %.
TOLERANCE = 1e-3


class Phase(Enum):
    """The two models of a request."""

    BASE = "base"
    DISTILLED = "distilled"


@dataclass(frozen=True)
class Boundary:
    """The level at which the distilled model takes over: it runs at and below, the base above."""

    level: float

    def phase(self, level: float) -> Phase:
        """The model for one noise level, in the unit of the boundary."""
        if math.isinf(self.level):
            return Phase.DISTILLED if self.level > 0 else Phase.BASE
        return Phase.BASE if level > self.level + TOLERANCE * abs(self.level) else Phase.DISTILLED


ALL_BASE = Boundary(-math.inf)
ALL_DISTILLED = Boundary(math.inf)


def boundary_of(levels: Levels, switch_step: int) -> Boundary:
    """Boundary after `switch_step` of the distilled model's steps; `levels` are the whole schedule, descending."""
    if switch_step <= 0:
        return ALL_DISTILLED
    if switch_step >= len(levels) - 1:
        return ALL_BASE
    return Boundary(levels[switch_step])


@dataclass(frozen=True)
class Split:
    """One run's levels cut at the boundary; both parts hold the level they share.

    Attributes:
        base: levels of the base's steps, or () if it has none.
        distilled: levels of the distilled model's steps, or ().
    """

    base: Levels
    distilled: Levels

    @property
    def levels(self) -> Levels:
        """All levels of the run, the shared one once."""
        return self.base + (self.distilled[1:] if self.base else self.distilled)

    @property
    def boundary(self) -> Boundary:
        """The level this run really switches at: always one of its own."""
        if not self.base:
            return ALL_DISTILLED
        return Boundary(self.base[-1]) if self.distilled else ALL_BASE


def split_levels(levels: Levels, boundary: Boundary) -> Split:
    """Cut a run's descending levels (perhaps only the tail of a schedule, as in img2img) at the boundary."""
    if boundary == ALL_BASE:
        return Split(levels, ())
    count = next((i for i, level in enumerate(levels) if boundary.phase(level) is Phase.DISTILLED), len(levels) - 1)
    if count == 0:
        return Split((), levels)
    if count == len(levels) - 1:
        return Split(levels, ())
    return Split(levels[: count + 1], levels[count:])
