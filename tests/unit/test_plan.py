"""Plans: which model makes which step, decided before any is spent."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from extension_core.errors import DiversityError
from extension_core.options.hybrid import Options
from extension_core.sampling.pass_levels import check_switch_step, skip_first_levels
from extension_core.sampling.plan import PassRequest, Plan
from extension_core.sampling.plan_pass import plan_pass
from extension_core.sampling.routing import ALL_BASE, ALL_DISTILLED, Boundary, Phase, boundary_of, split_levels
from extension_core.sampling.schedule import Levels, NoiseSchedule, Unit, family_levels

pytestmark = pytest.mark.once  # imports nothing whose version differs between the stacks

SCHEDULE = NoiseSchedule.stable_diffusion()
LCM4 = family_levels("lcm", 4, SCHEDULE, "sigma")


def request(levels: Levels = LCM4, sampler: str = "LCM", run: Levels | None = None) -> PassRequest:
    return PassRequest("first pass", sampler, "sigma", levels, run or levels, "sigma")


def describe(options: Options, item: PassRequest | None = None) -> str:
    return Plan((plan_pass(item or request(), options, SCHEDULE),), SCHEDULE).describe()


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({}, "base 999 -> 759, distilled 759 -> 499 -> 259 -> 0, CFG 1/1, 4 U-Net calls"),
        ({"switch_step": 0}, "distilled 999 -> 759 -> 499 -> 259 -> 0, CFG 1, 4 U-Net calls"),
        ({"switch_step": 4, "base_cfg": 3.0}, "base 999 -> 759 -> 499 -> 259 -> 0, CFG 3, 4 U-Net calls"),
        ({"mode": "base"}, "base 999 -> 759 -> 499 -> 259 -> 0, CFG 1, 4 U-Net calls"),
        ({"mode": "distilled"}, "distilled 999 -> 759 -> 499 -> 259 -> 0, CFG 1, 4 U-Net calls"),
        (
            {"base_steps": 3},
            "base 999 -> 919 -> 839 -> 759, distilled 759 -> 499 -> 259 -> 0, CFG 1/1, 6 U-Net calls",
        ),
        (
            {"base_sampler": "Heun"},
            "base 999 -> 759, distilled 759 -> 499 -> 259 -> 0, base by Heun, CFG 1/1, 5 U-Net calls",
        ),
    ],
)
def test_plan_lines(values: dict[str, object], line: str) -> None:
    assert describe(Options.from_mapping(values)) == line


def test_skip_first_starts_at_the_switch() -> None:
    options = Options(mode="skip_first", switch_step=1)
    run = skip_first_levels(LCM4, LCM4[1])
    assert describe(options, request(run=run)) == "distilled 759 -> 499 -> 259 -> 0, CFG 1, 3 U-Net calls"


levels_strategy = st.lists(st.floats(0.03, 14.6), min_size=2, max_size=30, unique=True).map(
    lambda values: (*sorted(values, reverse=True), 0.0)
)


@given(levels_strategy, st.integers(0, 40))
def test_phases_share_one_boundary_and_cover_every_level(levels: Levels, k: int) -> None:
    """Invariant 2: the phase is a function of the noise level alone, and the split says the same."""
    nominal = boundary_of(levels, k)
    split = split_levels(levels, nominal)
    assert split.levels == levels
    if split.base and split.distilled:
        assert split.base[-1] == split.distilled[0] == split.boundary.level
    for level in split.base[:-1]:
        assert split.boundary.phase(level) is Phase.BASE
    for level in split.distilled:
        assert split.boundary.phase(level) is Phase.DISTILLED


@given(st.floats(0, 15), st.floats(0, 15), st.floats(0.03, 14))
def test_routing_is_monotone(a: float, b: float, boundary: float) -> None:
    high, low = max(a, b), min(a, b)
    route = Boundary(boundary).phase
    assert not (route(low) is Phase.BASE and route(high) is Phase.DISTILLED)


@given(st.floats(0, 1000))
def test_whole_phases_hold_everywhere(level: float) -> None:
    assert ALL_BASE.phase(level) is Phase.BASE
    assert ALL_DISTILLED.phase(level) is Phase.DISTILLED
    assert math.isinf(ALL_BASE.level)


@pytest.mark.parametrize("level", LCM4[1:-1])
def test_half_precision_does_not_move_the_boundary(level: float) -> None:
    assert Boundary(level).phase(float(np.float16(level))) is Phase.DISTILLED


def test_rounding_in_log_sigma_does_not_move_the_boundary() -> None:
    """DPM-Solver comes back to a level through exp(log(sigma)) in float32."""
    boundary = Boundary(LCM4[1])
    assert boundary.phase(LCM4[1] * (1 + 1e-6)) is Phase.DISTILLED
    assert boundary.phase(SCHEDULE.sigma(760)) is Phase.BASE


def test_img2img_below_the_boundary_says_so() -> None:
    item = replace(request(run=LCM4[2:]), name="img2img")
    plan = plan_pass(item, Options(), SCHEDULE)
    assert not plan.split.base
    assert "the base would never run" in plan.note
    assert "timestep 499" in plan.note
    assert "switch at 759" in plan.note


def test_hires_pass_runs_on_the_distilled_model_alone_by_default() -> None:
    hires = replace(request(), name="hires pass")
    assert not plan_pass(hires, Options(), SCHEDULE).split.base
    assert plan_pass(hires, Options(passes="both"), SCHEDULE).split.base
    assert not plan_pass(request(), Options(passes="hires"), SCHEDULE).split.base


def test_switch_step_beyond_the_run_is_refused() -> None:
    with pytest.raises(DiversityError, match="switch_step of Diversity Distillation is 5 but this run has 4 steps"):
        check_switch_step(Options(switch_step=5), "first pass", 4)
    with pytest.raises(DiversityError, match="would skip all 4 steps"):
        check_switch_step(Options(mode="skip_first", switch_step=4), "first pass", 4)
    check_switch_step(Options(switch_step=4), "first pass", 4)


@pytest.mark.parametrize(("passes", "alone"), [("first", "hires pass"), ("hires", "first pass"), ("hires", "img2img")])
def test_a_pass_of_the_distilled_model_alone_may_be_shorter_than_the_switch_step(passes: str, alone: str) -> None:
    check_switch_step(Options(switch_step=5, passes=passes), alone, 4)
    with pytest.raises(DiversityError, match="switch_step"):
        check_switch_step(Options(switch_step=5, passes="both"), alone, 4)


def test_a_pass_of_the_base_alone_is_told() -> None:
    told = "The base makes the whole first pass, for the switch step is 4 of 4 steps, and the distilled model none"
    assert plan_pass(request(), Options(switch_step=4), SCHEDULE).note.startswith(told)
    assert not plan_pass(request(), Options(switch_step=3), SCHEDULE).note
    assert not plan_pass(request(), Options(switch_step=4, mode="base"), SCHEDULE).note


@pytest.mark.parametrize(
    ("sampler", "calls"),
    [("Euler", 4), ("Heun", 7), ("DPM2", 7), ("DPM++ SDE", 7), ("PLMS", 5), ("LCM", 4), ("DPM adaptive", None)],
)
def test_expected_calls(sampler: str, calls: int | None) -> None:
    plan = plan_pass(request(sampler=sampler), Options(), SCHEDULE)
    assert (sum(plan.calls.values()) if plan.calls else None) == calls


def test_no_step_to_make() -> None:
    for mode in ("hybrid", "base", "distilled", "skip_first"):
        for own_grid in (False, True):
            item = replace(request(run=()), name="img2img", run=(), own_grid=own_grid)
            plan = plan_pass(item, Options(mode=mode), SCHEDULE)
            assert plan.calls == {Phase.BASE: 0, Phase.DISTILLED: 0}
            assert plan.runs == plan.levels == plan.split.levels == ()
            assert plan.describe(SCHEDULE) == "no step, the image stays as it is, 0 U-Net calls"
            assert "has no step to make" in plan.note


@given(
    st.sampled_from(["lcm", "trailing", "single_399", "single_800"]),
    st.sampled_from(["sigma", "timestep"]),
    st.integers(1, 3000),
    st.integers(1, 60),
    st.integers(0, 4),
)
def test_a_familys_grid_has_no_level_twice(grid: str, unit: Unit, steps: int, tail: int, k: int) -> None:
    """Whatever tail of however long a schedule the host takes, and wherever skip first begins."""
    levels = family_levels(grid, steps, SCHEDULE, unit)
    assert len(levels) == steps + 1, "the hosts count on the length"
    whole = family_levels(grid, 4, SCHEDULE, unit)
    run = skip_first_levels(levels, whole[k])[-(tail + 1) :]
    item = PassRequest("img2img", "Euler", unit, whole, run, unit, own_grid=True)
    plan = plan_pass(item, Options(mode="distilled"), SCHEDULE)
    assert all(a > b for a, b in pairwise(plan.split.levels))
    assert set(plan.split.levels) == (set(run) if len(set(run)) > 1 else set())
    known = set(range(1000)) if grid != "lcm" else {*range(19, 1000, 20)}
    timesteps = [round(SCHEDULE.to_timestep(level, unit)) for level in plan.split.levels[:-1]]
    assert grid.startswith("single") or set(timesteps) <= known
    if len(run) - 1 > len(plan.split.levels) - 1 > 0 and k == 0:
        assert f"makes {len(plan.split.levels) - 1} of" in plan.note
