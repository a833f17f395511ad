"""The noise levels of one pass: which it goes through, and at which of them the models change. Pure."""

from __future__ import annotations

from extension_core.errors import DiversityError
from extension_core.options.hybrid import Options
from extension_core.sampling.plan import PassRequest
from extension_core.sampling.routing import ALL_BASE, ALL_DISTILLED, Boundary, Split, boundary_of, split_levels
from extension_core.sampling.schedule import Levels, NoiseSchedule, finer


def base_takes_part(options: Options, pass_name: str) -> bool:
    """Whether the base runs in this pass; img2img counts as a first pass."""
    target = {"first": ("first pass", "img2img"), "hires": ("hires pass",)}
    return options.passes == "both" or pass_name in target[options.passes]


def check_switch_step(options: Options, pass_name: str, steps: int) -> None:
    """Refuse a switch step beyond the run of a pass; one that the distilled model makes alone may be shorter.

    Raises:
        DiversityError: k is larger than the number of steps.
    """
    if options.mode == "hybrid" and not base_takes_part(options, pass_name):
        return
    if options.mode in ("hybrid", "skip_first") and options.switch_step > steps:
        raise DiversityError(
            f"switch_step of Diversity Distillation is {options.switch_step} but this run has {steps} steps; "
            f"choose a switch step from 0 to {steps}."
        )
    if options.mode == "skip_first" and options.switch_step >= steps:
        raise DiversityError(
            f"Skip first with switch_step {options.switch_step} would skip all {steps} steps; "
            f"choose a switch step from 0 to {steps - 1}."
        )


def nominal_boundary(options: Options, pass_name: str, whole: Levels) -> Boundary:
    """Where the models change on the whole schedule, by mode, pass and switch step."""
    if options.mode == "base":
        return ALL_BASE
    if options.mode != "hybrid" or not base_takes_part(options, pass_name):
        return ALL_DISTILLED
    return boundary_of(whole, options.switch_step)


def skip_first_levels(levels: Levels, start: float) -> Levels:
    """A schedule without its levels above `start`: they become `start`, so its length (and the host's slices) hold."""
    return tuple(min(level, start) for level in levels)


def drop_repeats(levels: Levels) -> Levels:
    """Leading repeats removed; the counterpart of `skip_first_levels` when the run begins."""
    first = next((i for i in range(len(levels) - 1) if levels[i + 1] != levels[i]), max(len(levels) - 1, 0))
    return levels[first:]


def run_levels(request: PassRequest) -> Levels:
    """The levels that a pass goes through, () for no step; a family's grid is left no level twice."""
    levels = tuple(dict.fromkeys(request.run)) if request.own_grid else drop_repeats(request.run)
    return levels if len(levels) > 1 else ()


def plan_split(request: PassRequest, nominal: Boundary, options: Options, schedule: NoiseSchedule) -> Split:
    """Levels of each phase: cut at the boundary, base steps refined if N differs from k."""
    levels = run_levels(request)
    split = split_levels(levels, nominal) if levels else Split((), ())
    if not (split.base and split.distilled):
        return split
    if request.unit == "sigma" and request.base_unit == "timestep":
        split = _on_whole_timestep(split, schedule)
    if options.base_steps in (None, options.switch_step):
        return split
    return Split(_finer(split.base, options.base_steps, request, schedule), split.distilled)


def _finer(levels: Levels, steps: int, request: PassRequest, schedule: NoiseSchedule) -> Levels:
    whole_timesteps = "timestep" in (request.unit, request.base_unit)
    return finer(levels, steps, schedule, request.unit, whole_timesteps)


def _on_whole_timestep(split: Split, schedule: NoiseSchedule) -> Split:
    """DDIM and PLMS know whole timesteps only, so the level that both phases share must be one."""
    shared = schedule.sigma(round(schedule.timestep(split.base[-1])))
    return Split((*split.base[:-1], shared), (shared, *split.distilled[1:]))
