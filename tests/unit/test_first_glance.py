"""What the panel says of options and of a plan, as pure functions of both."""

from __future__ import annotations

import html
import json
import re
from typing import Any

import pytest

from extension_core.options.hybrid import Options
from extension_core.sampling.plan import PassRequest, Plan
from extension_core.sampling.plan_pass import plan_pass
from extension_core.sampling.routing import Phase
from extension_core.sampling.schedule import Levels, NoiseSchedule, family_levels
from extension_core.sampling.session import Session
from extension_core.ui import words
from extension_core.ui.groups import GROUPS, changed
from extension_core.ui.idle import Known, idle
from extension_core.ui.page_state import PageState
from extension_core.ui.words import Settings

pytestmark = pytest.mark.once  # imports nothing whose version differs between the stacks

SCHEDULE = NoiseSchedule.stable_diffusion()
LCM4 = family_levels("lcm", 4, SCHEDULE, "sigma")
NAMES = {Phase.BASE: "slow", Phase.DISTILLED: "fast"}
ASKED = Settings(20, "DPM++ 2M", "Karras", (7.0,))


def pass_request(name: str = "first pass", run: Levels = LCM4, sampler: str = "LCM") -> PassRequest:
    return PassRequest(name, sampler, "sigma", LCM4, run, "sigma")


def session(*requests: PassRequest, **values: Any) -> Session:
    options = Options.from_mapping(values)
    passes = tuple(plan_pass(item, options, SCHEDULE) for item in requests or (pass_request(),))
    return Session(options, Plan(passes, SCHEDULE), "fast")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, "Step 1 of 4: slow; steps 2 to 4: fast"),
        ({"switch_step": 3}, "Steps 1 to 3 of 4: slow; step 4: fast"),
        ({"base_steps": 3}, "Step 1 of 4, made in 3: slow; steps 2 to 4: fast"),
        ({"mode": "distilled"}, "Steps 1 to 4 of 4: fast"),
        ({"mode": "base"}, "Steps 1 to 4 of 4: slow"),
        ({"switch_step": 4}, "Steps 1 to 4 of 4: slow"),
    ],
)
def test_who_makes_which_step(values: dict[str, Any], said: str) -> None:
    assert words.who(session(**values), NAMES) == said


def test_of_a_tail_the_steps_count_on_the_whole_schedule() -> None:
    tail = pass_request("img2img", LCM4[2:])
    assert words.who(session(tail, switch_step=3), NAMES) == "Step 3 of 4: slow; step 4: fast"


def test_passes_are_told_one_by_one() -> None:
    both = session(pass_request(), pass_request("hires pass", LCM4[1:]))
    said = "First pass: step 1 of 4: slow; steps 2 to 4: fast. Hires pass: steps 2 to 4 of 4: fast"
    assert words.who(both, NAMES) == said


def test_a_pass_without_a_step() -> None:
    assert words.who(session(pass_request("img2img", ())), NAMES) == "No step"
    assert words.state(session(pass_request("img2img", ())), "LCM") == "LCM · no step · 0 calls"


@pytest.mark.parametrize(
    ("runs", "said"),
    [
        (Settings(4, "LCM", "Automatic", (1.0,)), "Your 20 steps, DPM++ 2M Karras, CFG 7 are replaced by 4, LCM, 1"),
        (Settings(20, "DPM++ 2M", "Karras", (1.0,)), "Your CFG 7 is replaced by 1"),
        (Settings(4, "DPM++ 2M", "Karras", (7.0,)), "Your 20 steps are replaced by 4"),
        (
            Settings(20, "DPM++ 2M", "Karras", (7.0, 1.0)),
            "Your CFG 7 is replaced by 7 for the base and 1 for the distilled model",
        ),
        (ASKED, ""),
    ],
)
def test_what_replaces_the_users_settings(runs: Settings, said: str) -> None:
    assert words.replaced(ASKED, runs) == said


@pytest.mark.parametrize(
    ("values", "state", "cost", "negative"),
    [
        ({}, "base 1 + distilled 3 · 4 calls", "", "No effect at CFG 1"),
        (
            {"base_cfg": 7},
            "base 1 + distilled 3 · 4 calls (5 evaluations)",
            "5 U-Net evaluations: base CFG 7 computes the negative prompt as well",
            "Acts on the base's steps alone (CFG 7)",
        ),
        (
            {"base_cfg": 7, "distilled_cfg": 2},
            "base 1 + distilled 3 · 4 calls (8 evaluations)",
            "8 U-Net evaluations: base CFG 7 and distilled CFG 2 compute the negative prompt as well",
            "Acts on all steps",
        ),
        (
            {"base_cfg": 0.5},
            "base 1 + distilled 3 · 4 calls (5 evaluations)",
            "5 U-Net evaluations: base CFG 0.5 computes the negative prompt as well",
            "Acts on the base's steps alone (CFG 0.5)",
        ),
        ({"base_cfg": 7, "mode": "distilled"}, "distilled 4 · 4 calls", "", "No effect at CFG 1"),
    ],
)
def test_what_it_costs(values: dict[str, Any], state: str, cost: str, negative: str) -> None:
    planned = session(**values)
    assert words.state(planned, "LCM") == f"LCM · {state}"
    assert words.cost(planned) == cost
    assert words.negative(planned) == negative


def test_heun_costs_more_calls_than_steps() -> None:
    assert words.state(session(pass_request(sampler="Heun")), "custom") == "custom · base 1 + distilled 3 · 7 calls"


def test_what_try_it_makes_and_costs() -> None:
    runs = Settings(4, "LCM", "", (1.0,))
    assert words.trial(4, ASKED, runs) == (
        "Makes 4 images by the base alone (20 steps, CFG 7), by the distilled model alone and by both (4 steps each), "
        "and measures how different they are: 28 steps for each image."
    )
    assert "by the base alone (20 steps), " in words.trial(4, Settings(20), runs), "some pages do not tell their CFG"


def test_a_small_share_of_a_long_run_is_told() -> None:
    levels = family_levels("trailing", 20, SCHEDULE, "sigma")
    long = PassRequest("first pass", "Euler", "sigma", levels, levels, "sigma")
    assert words.small_share(session(long)).startswith("The base makes 1 of 20 steps (5 %)")
    assert words.small_share(session()) == ""
    assert words.small_share(session(long, switch_step=4)) == ""


@pytest.mark.parametrize(
    ("values", "about", "names"),
    [
        ({}, Known(), {"carry_strength"}),
        ({"mode": "distilled"}, Known(), {"switch_step", "base_steps", "base_cfg", "passes", "base_sampler"}),
        ({"mode": "base"}, Known(), {"distilled_cfg", "text_encoder", "switch_step", "distilled_lora_factor"}),
        ({"mode": "skip_first"}, Known(), {"base_cfg", "base_steps", "passes", "base_sampler"}),
        ({"switch_step": 0}, Known(base=False, distilled=True), {"base_steps", "base_cfg", "base_sampler"}),
        ({"switch_step": 4}, Known(base=True, distilled=False), {"distilled_cfg", "base_sampler"}),
        ({}, Known(is_lora=False), {"lora_strength"}),
        ({}, Known(is_lora=True), {"carry_from"}),
        ({}, Known(is_custom=True), {"schedule", "file_steps"}),
        ({"lora_targets": "base"}, Known(), {"distilled_lora_factor"}),
        ({"lora_targets": "distilled"}, Known(), {"base_lora_factor"}),
    ],
)
def test_what_has_no_effect(values: dict[str, Any], about: Known, names: set[str]) -> None:
    found = idle(Options.from_mapping(values), about)
    assert names <= found.keys()
    assert all(re.fullmatch(r"No effect: [^.]+", why) for why in found.values())


def test_what_acts_and_what_has_to_be_set_back_is_never_idle() -> None:
    assert idle(Options(carry_from="origin"), Known(base=True, distilled=True, is_lora=True, is_custom=False)) == {}
    acting = {"switch_step", "base_cfg", "distilled_cfg", "base_steps", "family", "distilled_model", "residency"}
    assert not acting & idle(Options(), Known.of(session(), False, False)).keys()
    assert "switch_step" not in idle(Options(mode="skip_first"), Known())


def test_a_plan_tells_which_models_run() -> None:
    assert Known.of(session(mode="distilled"), False, True) == Known(False, True, False, True, 4)
    assert Known.of(session(), None, False) == Known(True, True, None, False, 4)


@pytest.mark.parametrize(
    ("group", "values", "said"),
    [
        ("guidance", {}, ""),
        ("guidance", {"base_cfg": 3, "base_steps": 6}, "N 6, base CFG 3"),
        ("guidance", {"mode": "skip_first", "base_sampler": "Heun"}, "skip first, base by Heun"),
        ("guidance", {"switch_step": 2}, ""),
        (
            "style",
            {"carry_from": "folder\\sub/origin.safetensors", "carry_strength": 0.5},
            "from origin.safetensors, s 0.5",
        ),
        ("memory", {"residency": "8bit"}, "memory 8bit"),
        ("measure", {"grid_diversity": True}, "grid diversity"),
    ],
)
def test_a_group_says_what_is_not_as_it_comes(group: str, values: dict[str, Any], said: str) -> None:
    found = next(one for one in GROUPS if one.name == group)
    assert changed(found, Options.from_mapping(values)) == said


def test_what_files_are_called_stays_text_in_the_page() -> None:
    evil = "\"'><script>alert(1)</script>"
    around = PageState("txt2img", "p_", line=evil, groups={"style": evil}).around("<p>plan</p>")
    assert "<script>" not in around
    found = re.fullmatch(r'<div class="diversity-told" data-state="([^"]*)"><p>plan</p></div>', around)
    assert found is not None
    assert json.loads(html.unescape(found[1]))["line"] == evil
