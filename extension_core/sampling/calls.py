"""How many model calls a sampler makes, and at which levels; known for the samplers of the hosts by name.

Read in k_diffusion/sampling.py, modules/sd_samplers_extra.py, modules/sd_samplers_timesteps_impl.py (A1111 1.10.1) and
in Forge's k_diffusion/sampling.py and backend/modules/k_diffusion_extra.py (dfdcbab6).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from extension_core.sampling.routing import Boundary, Phase
from extension_core.sampling.schedule import Levels

# A step that ends at 0 is a plain Euler step in all of these.
_SECOND_AT_END = ("Heun", "Restart")
_SECOND_IN_BETWEEN = ("DPM2", "DPM++ SDE")
_SECOND_ABOVE_DOWN = ("DPM2 a", "DPM++ 2S a")
# Looks one level further where there is one before the end.
_TWO_AHEAD = ("HeunPP2",)
_CHURNING = ("Euler", "Heun", "DPM2")
_ADAPTIVE = ("DPM adaptive",)
_ONCE_A_STEP = (
    *("DPM++ 2M", "DPM++ 2M SDE", "DPM++ 2M SDE Heun", "DPM++ 3M SDE", "Euler a", "LMS", "DPM fast", "LCM"),
    *("DDIM", "DDIM CFG++", "UniPC", "IPNDM", "IPNDM_V", "DEIS", "DDPM"),
)
_KNOWN = frozenset(
    (*_ONCE_A_STEP, *_SECOND_AT_END, *_SECOND_IN_BETWEEN, *_SECOND_ABOVE_DOWN, *_TWO_AHEAD, *_CHURNING, "PLMS")
)
# Restart goes back up only from this many steps on (modules/sd_samplers_extra.py, A1111 1.10.1).
_RESTART_FROM = 20
_MOST_CHURN = 2**0.5 - 1


@dataclass(frozen=True)
class Stochastic:
    """What the noise that samplers add on their way does to the levels of their calls.

    Attributes:
        eta: of the ancestral samplers.
        churn: of the samplers that go up a little before each step, for the whole run (Karras et al. 2022).
        lowest, highest: sigmas between which they do.
    """

    eta: float = 1.0
    churn: float = 0.0
    lowest: float = 0.0
    highest: float = math.inf


NO_CHURN = Stochastic()


def call_levels(sampler: str, levels: Levels, how: Stochastic = NO_CHURN) -> list[float] | None:
    """Levels at which `sampler` calls the model over descending `levels`; None if only the run itself will tell.

    DPM fast makes as many calls, but at levels of its own.
    """
    if sampler not in _KNOWN or sampler in _ADAPTIVE or (sampler == "Restart" and len(levels) - 1 >= _RESTART_FROM):
        return None
    return list(_calls(sampler, levels, how))


def _calls(sampler: str, levels: Levels, how: Stochastic) -> Iterator[float]:
    end = levels[-1]
    for i, (level, next_level) in enumerate(pairwise(levels)):
        start = _churned(level, len(levels) - 1, how) if sampler in _CHURNING else level
        yield start
        if (sampler == "PLMS" and i == 0) or (next_level > 0 and sampler in _SECOND_AT_END):
            yield next_level
        elif sampler in _TWO_AHEAD and next_level != end:
            yield from (ahead for ahead in levels[i + 1 : i + 3] if ahead != end)
        elif next_level > 0 and sampler in _SECOND_IN_BETWEEN:
            yield (start * next_level) ** 0.5
        elif sampler in _SECOND_ABOVE_DOWN and (down := _down(level, next_level, how.eta)) > 0:
            yield (level * down) ** 0.5


def _churned(level: float, steps: int, how: Stochastic) -> float:
    churns = how.lowest <= level <= how.highest
    return level * (1.0 + min(how.churn / steps, _MOST_CHURN)) if churns else level


def _down(level: float, next_level: float, eta: float) -> float:
    """The level that an ancestral step goes down to before it adds noise again."""
    up = min(next_level, eta * (next_level**2 * (level**2 - next_level**2) / level**2) ** 0.5)
    return max(next_level**2 - up**2, 0.0) ** 0.5


def expected_calls(
    sampler: str, levels: Levels, boundary: Boundary, how: Stochastic = NO_CHURN
) -> dict[Phase, int] | None:
    """Model calls of each phase, or None if the sampler chooses its own number."""
    called = call_levels(sampler, levels, how)
    if called is None:
        return None
    phases = [boundary.phase(level) for level in called]
    return {phase: phases.count(phase) for phase in Phase}
