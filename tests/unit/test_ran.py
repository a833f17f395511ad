"""What ran beside the plan: what counts as a difference, and what an extension may do."""

from __future__ import annotations

from dataclasses import replace

import pytest

from extension_core.options.hybrid import Options
from extension_core.sampling.calls import call_levels
from extension_core.sampling.plan import PassPlan, PassRequest
from extension_core.sampling.plan_pass import plan_pass
from extension_core.sampling.ran import Call, difference
from extension_core.sampling.routing import Phase
from extension_core.sampling.schedule import NoiseSchedule, family_levels

SCHEDULE = NoiseSchedule.stable_diffusion()
LCM4 = family_levels("lcm", 4, SCHEDULE, "sigma")


def planned(sampler: str = "LCM", **options: object) -> PassPlan:
    item = PassRequest("first pass", sampler, "sigma", LCM4, LCM4, "sigma", own_grid=True)
    return plan_pass(item, Options.from_mapping(options), SCHEDULE)


def as_planned(plan: PassPlan) -> list[Call]:
    made = []
    for run in plan.runs:
        levels = call_levels(run.sampler, run.levels, plan.how)
        made += [Call(run.boundary.phase(level), level, run.unit) for level in levels or run.levels[:-1]]
    return made


CASES = (
    *[planned(name) for name in ("LCM", "Euler", "Heun", "DPM2 a", "DPM++ SDE", "HeunPP2", "DPM fast", "DPM adaptive")],
    planned("Heun", base_sampler="DPM++ 2M", base_steps=3),
    planned(mode="distilled"),
    planned("A sampler of an extension's"),
)


@pytest.mark.parametrize("plan", CASES, ids=lambda plan: f"{plan.sampler} {plan.base_sampler}")
def test_what_was_planned_is_no_difference(plan: PassPlan) -> None:
    made = as_planned(plan)
    assert difference(plan, made, SCHEDULE) == ""
    assert difference(plan, [call for call in made for _ in range(2)], SCHEDULE) == "", "more often"
    rounded = [replace(call, level=call.level * (1 + 4e-4)) for call in made]
    assert difference(plan, rounded, SCHEDULE) == "", "half precision"


@pytest.mark.parametrize("plan", CASES, ids=lambda plan: f"{plan.sampler} {plan.base_sampler}")
def test_no_calls_are_a_difference(plan: PassPlan) -> None:
    assert difference(plan, [], SCHEDULE)
    if plan.split.base:
        assert difference(plan, [call for call in as_planned(plan) if call.phase is Phase.BASE], SCHEDULE)


@pytest.mark.parametrize("plan", [case for case in CASES if case.calls], ids=lambda plan: plan.sampler)
def test_each_call_counts(plan: PassPlan) -> None:
    made = as_planned(plan)
    for i, call in enumerate(made):
        assert difference(plan, [*made[:i], *made[i + 1 :]], SCHEDULE), f"without call {i}"
        other = Phase.DISTILLED if call.phase is Phase.BASE else Phase.BASE
        assert difference(plan, [*made[:i], replace(call, phase=other), *made[i + 1 :]], SCHEDULE), f"{i} by the other"


def test_a_level_that_nobody_planned() -> None:
    made = [*as_planned(planned()), Call(Phase.DISTILLED, SCHEDULE.sigma(650), "sigma")]
    told = difference(planned(), made, SCHEDULE)
    assert "the distilled model was called at timestep 650" in told
    assert "distilled 759 -> 499" in told


def test_the_sentence_says_planned_and_found() -> None:
    told = difference(planned(), as_planned(planned())[:1], SCHEDULE)
    assert told == (
        "base 1, distilled 3 U-Net calls were planned for the first pass and base 1, distilled 0 were made, none of "
        "them by the distilled model at timestep 759 where one was due"
    )
