"""What has run, beside what was planned: calls of the denoiser by model and level. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from extension_core.sampling.calls import call_levels
from extension_core.sampling.plan import OWN_GRID_SAMPLERS, PassPlan, Run
from extension_core.sampling.routing import TOLERANCE, Phase
from extension_core.sampling.schedule import NoiseSchedule, Unit

# UniPC's timesteps are computed in float32, DDIM's are whole.
_TIMESTEP_TOLERANCE = 0.05


@dataclass(frozen=True)
class Call:
    """One call of the denoiser.

    Attributes:
        level: in the unit of the sampler that made it.
    """

    phase: Phase
    level: float
    unit: Unit


def difference(plan: PassPlan, calls: Sequence[Call], schedule: NoiseSchedule) -> str:
    """How a pass that ran to its end differs from its plan, in words for a sentence; "" if it does not.

    An extension may call the denoiser more often, at levels and with models of the plan.
    """
    left = list(calls)
    planned: list[Call] = []
    for run in plan.runs:
        due = _planned_calls(plan, run)
        if due is None:
            if missing := _phases(run) - {call.phase for call in calls}:
                return f"the {_names(missing)} made no step of the {plan.name}"
            continue
        planned += due
        for call in due:
            match = next((made for made in left if _same(call, made, run)), None)
            if match is None:
                return _missing(plan, call, calls, schedule)
            left.remove(match)
    if any(_planned_calls(plan, run) is None or run.sampler in OWN_GRID_SAMPLERS for run in plan.runs):
        return ""
    strange = next((made for made in left if not any(_near(made, call) for call in planned)), None)
    return "" if strange is None else _unplanned(plan, strange, schedule)


def _planned_calls(plan: PassPlan, run: Run) -> list[Call] | None:
    levels = call_levels(run.sampler, run.levels, plan.how)
    return None if levels is None else [Call(run.boundary.phase(level), level, run.unit) for level in levels]


def _phases(run: Run) -> set[Phase]:
    return {run.boundary.phase(level) for level in run.levels[:-1]}


def _same(planned: Call, made: Call, run: Run) -> bool:
    if run.sampler in OWN_GRID_SAMPLERS:  # as many, at levels of its own
        return made.phase is planned.phase
    return _near(made, planned)


def _near(made: Call, planned: Call) -> bool:
    if (made.phase, made.unit) != (planned.phase, planned.unit):
        return False
    tolerance = TOLERANCE * planned.level if planned.unit == "sigma" else _TIMESTEP_TOLERANCE
    return abs(made.level - planned.level) <= tolerance


def _missing(plan: PassPlan, call: Call, calls: Sequence[Call], schedule: NoiseSchedule) -> str:
    counts = ", ".join(f"{phase.value} {sum(made.phase is phase for made in calls)}" for phase in Phase)
    due = plan.calls or {}
    planned = ", ".join(f"{phase.value} {due.get(phase, 0)}" for phase in Phase)
    return (
        f"{planned} U-Net calls were planned for the {plan.name} and {counts} were made, none of them by the "
        f"{call.phase.value} model at {_at(call, schedule)} where one was due"
    )


def _unplanned(plan: PassPlan, made: Call, schedule: NoiseSchedule) -> str:
    return (
        f"the {made.phase.value} model was called at {_at(made, schedule)} in the {plan.name}, which was not planned "
        f"({plan.describe(schedule)})"
    )


def _at(call: Call, schedule: NoiseSchedule) -> str:
    return f"timestep {schedule.to_timestep(call.level, call.unit):.0f}"


def _names(phases: set[Phase]) -> str:
    return " and ".join(f"{phase.value} model" for phase in Phase if phase in phases)
