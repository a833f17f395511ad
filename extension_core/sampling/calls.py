"""How many model calls a sampler makes, and at which levels; known for the samplers of the hosts by name."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from extension_core.sampling.routing import Boundary, Phase
from extension_core.sampling.schedule import Levels

# k-diffusion: where the second call of a step lies. A step that ends at 0 is a plain Euler step in all of them.
_SECOND_AT_END = ("Heun", "Restart")
_SECOND_IN_BETWEEN = ("DPM2", "DPM2 a", "DPM++ 2S a", "DPM++ SDE")
# Looks one level further where there is one before the end (Forge's k_diffusion/sampling.py, dfdcbab6).
_TWO_AHEAD = ("HeunPP2",)
_ADAPTIVE = ("DPM adaptive",)
# Restart goes back up only from this many steps on (modules/sd_samplers_extra.py, A1111 1.10.1).
_RESTART_FROM = 20


def call_levels(sampler: str, levels: Levels) -> list[float] | None:
    """Levels at which `sampler` calls the model over descending `levels`; None if only the run itself will tell."""
    if sampler in _ADAPTIVE or (sampler == "Restart" and len(levels) - 1 >= _RESTART_FROM):
        return None
    return list(_calls(sampler, levels))


def _calls(sampler: str, levels: Levels) -> Iterator[float]:
    end = levels[-1]
    for i, (level, following) in enumerate(pairwise(levels)):
        yield level
        if (sampler == "PLMS" and i == 0) or (following > 0 and sampler in _SECOND_AT_END):
            yield following
        elif sampler in _TWO_AHEAD and following != end:
            yield from (ahead for ahead in levels[i + 1 : i + 3] if ahead != end)
        elif following > 0 and sampler in _SECOND_IN_BETWEEN:
            yield (level * following) ** 0.5


def expected_calls(sampler: str, levels: Levels, boundary: Boundary) -> dict[Phase, int] | None:
    """Model calls of each phase, or None if the sampler chooses its own number."""
    called = call_levels(sampler, levels)
    if called is None:
        return None
    phases = [boundary.phase(level) for level in called]
    return {phase: phases.count(phase) for phase in Phase}
