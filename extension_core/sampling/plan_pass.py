"""Deciding one pass: which levels each model runs over, by which sampler, in how many calls. Pure."""

from __future__ import annotations

from dataclasses import replace

from extension_core.errors import DiversityError
from extension_core.options.hybrid import Options
from extension_core.sampling.calls import expected_calls
from extension_core.sampling.pass_levels import nominal_boundary, plan_split, run_levels
from extension_core.sampling.plan import PassPlan, PassRequest
from extension_core.sampling.plan_notes import note_on
from extension_core.sampling.routing import Phase, Split
from extension_core.sampling.schedule import Levels, NoiseSchedule, Unit


def plan_pass(request: PassRequest, options: Options, schedule: NoiseSchedule) -> PassPlan:
    """Decide one pass; pure.

    Raises:
        DiversityError: the samplers cannot be combined.
    """
    nominal = nominal_boundary(options, request.name, request.whole)
    split = plan_split(request, nominal, options, schedule)
    base_sampler = request.sampler if options.base_sampler == "same" else options.base_sampler
    if not (split.base and split.distilled):
        base_sampler = request.sampler
    _check_samplers(request, base_sampler, split, options)
    base_unit = request.unit if base_sampler == request.sampler else request.base_unit
    plan = PassPlan(
        name=request.name,
        sampler=request.sampler,
        base_sampler=base_sampler,
        unit=request.unit,
        whole=request.whole,
        run=request.run,
        levels=run_levels(request),
        split=split,
        base_unit=base_unit,
        base_levels=_in_unit(split.base, request.unit, base_unit, schedule),
        how=request.how,
        base_cfg=options.base_cfg,
        distilled_cfg=options.distilled_cfg,
        calls=None,
        note=note_on(request, options, nominal, split, schedule),
    )
    return replace(plan, calls=_calls(plan))


def _in_unit(levels: Levels, unit: Unit, target: Unit, schedule: NoiseSchedule) -> Levels:
    """Levels in the unit of another sampler."""
    if unit == target:
        return levels
    if target == "sigma":
        return tuple(schedule.to_sigma(level, "timestep") for level in levels)
    return tuple(float(round(schedule.timestep(level))) for level in levels)


def _check_samplers(request: PassRequest, base_sampler: str, split: Split, options: Options) -> None:
    """UniPC makes its own levels, down to 0, from a count of steps (modules/sd_samplers_timesteps_impl.py, A1111)."""
    if base_sampler != "UniPC" or not (split.base and split.distilled):
        return
    if request.sampler != "UniPC":
        raise DiversityError(
            f"UniPC cannot stop at a given noise level, so it cannot make the base's steps before {request.sampler}; "
            "choose DDIM, Euler or DPM++ 2M as base sampler."
        )
    if options.base_steps not in (None, options.switch_step):
        raise DiversityError(
            f"UniPC makes its own noise levels, so base_steps cannot be {options.base_steps} where switch_step is "
            f"{options.switch_step}; leave base_steps empty or choose DDIM, Euler or DPM++ 2M."
        )


def _calls(plan: PassPlan) -> dict[Phase, int] | None:
    total = dict.fromkeys(Phase, 0)
    for run in plan.runs:
        counted = expected_calls(run.sampler, run.levels, run.boundary, plan.how)
        if counted is None:
            return None
        total = {phase: total[phase] + counted[phase] for phase in Phase}
    return total
