"""The table of the models: one row for each that takes part."""

from __future__ import annotations

import re
from typing import Any

import pytest

from extension_core.options.hybrid import Options
from extension_core.sampling.pass_levels import skip_first_levels
from extension_core.sampling.plan import PassRequest, Plan
from extension_core.sampling.plan_pass import plan_pass
from extension_core.sampling.routing import Phase
from extension_core.sampling.schedule import Levels, NoiseSchedule, family_levels
from extension_core.sampling.session import Session
from extension_core.ui.summary import Model, lora_on, style_line, summary_html
from extension_core.weights.placement import Placed

pytestmark = pytest.mark.once  # imports nothing whose version differs between the stacks

SCHEDULE = NoiseSchedule.stable_diffusion()
LCM4 = family_levels("lcm", 4, SCHEDULE, "sigma")
MODELS = {Phase.BASE: Model("monsters"), Phase.DISTILLED: Model("fast")}
LIVES = Placed("on cuda:0", "in RAM", "")
Table = dict[str, tuple[str, ...]]


def pass_request(name: str = "first pass", run: Levels = LCM4, sampler: str = "LCM") -> PassRequest:
    return PassRequest(name, sampler, "sigma", LCM4, run, "sigma")


def shown(
    *requests: PassRequest, models: dict[Phase, Model] = MODELS, placed: Placed = LIVES, **values: Any
) -> tuple[Table, str]:
    """Rows by role as (name, steps, LoRAs, place), and what stands below the table."""
    options = Options.from_mapping(values)
    passes = tuple(plan_pass(item, options, SCHEDULE) for item in requests or (pass_request(),))
    text = summary_html(Session(options, Plan(passes, SCHEDULE), "fast"), models, placed)
    rows = {}
    for role, row in re.findall(r"<tr class='diversity-(\w+)'>(.*?)</tr>", text):
        name, *cells = re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row)
        rows[role] = (re.sub("<[^>]+>", " ", name.replace(f"<b>{role}</b>", "")).strip(), *cells)
    return rows, text.split("</div>")[1]


def test_both_models_of_a_hybrid_run() -> None:
    assert shown() == (
        {"base": ("monsters", "step 1", "× 1", "on cuda:0"), "distilled": ("fast", "steps 2–4", "× 1", "in RAM")},
        "",
    )


@pytest.mark.parametrize(
    ("values", "base", "distilled"),
    [
        ({"switch_step": 2}, "steps 1–2", "steps 3–4"),
        ({"base_steps": 3}, "step 1 in 3 finer", "steps 2–4"),
        ({"switch_step": 3, "base_steps": 1}, "steps 1–3 in 1 coarser", "step 4"),
    ],
)
def test_steps(values: dict[str, Any], base: str, distilled: str) -> None:
    rows, _ = shown(**values)
    assert (rows["base"][1], rows["distilled"][1]) == (base, distilled)


@pytest.mark.parametrize(
    ("values", "base", "distilled"),
    [
        ({"lora_targets": "base"}, "× 1", "none"),
        ({"lora_targets": "distilled", "distilled_lora_factor": 0.5}, "none", "× 0.5"),
        ({"base_lora_factor": 0, "distilled_lora_factor": 1.25}, "none", "× 1.25"),
    ],
)
def test_the_prompts_loras(values: dict[str, Any], base: str, distilled: str) -> None:
    rows, _ = shown(**values)
    assert (rows["base"][2], rows["distilled"][2]) == (base, distilled)


@pytest.mark.parametrize("mode", ["distilled", "base"])
def test_a_model_without_steps_has_no_row_but_keeps_its_place_in_memory(mode: str) -> None:
    rows, below = shown(mode=mode)
    idle = "monsters takes no part and is on cuda:0" if mode == "distilled" else "fast takes no part and is in RAM"
    assert {role: row[1] for role, row in rows.items()} == {mode: "steps 1–4"}
    assert idle in below


def test_base_alone_without_a_distilled_model() -> None:
    rows, below = shown(mode="base", models={Phase.BASE: Model("monsters")})
    assert (list(rows), below) == (["base"], "")


def test_skip_first_counts_on_the_whole_schedule() -> None:
    rows, _ = shown(pass_request(run=skip_first_levels(LCM4, LCM4[1])), mode="skip_first")
    assert rows == {"distilled": ("fast", "steps 2–4", "× 1", "in RAM")}


def test_img2img_begins_where_its_run_does() -> None:
    rows, _ = shown(pass_request("img2img", LCM4[1:]), switch_step=2)
    assert (rows["base"][1], rows["distilled"][1]) == ("step 2", "steps 3–4")


def test_passes_with_another_split_are_told_apart() -> None:
    rows, _ = shown(pass_request(), pass_request("hires pass", LCM4[1:]))
    assert rows["base"][1] == "first: step 1"
    assert rows["distilled"][1] == "first: steps 2–4, hires: steps 2–4"


def test_a_sampler_that_makes_its_own_steps() -> None:
    rows, _ = shown(pass_request(sampler="DPM adaptive"))
    assert {row[1] for row in rows.values()} == {"as many as its sampler takes"}


@pytest.mark.parametrize("changed_by", [style_line(0.5, "monsters", "origin"), lora_on(0.8, "monsters")])
def test_what_else_changes_a_model_stands_below_its_name(changed_by: str) -> None:
    rows, _ = shown(models={**MODELS, Phase.DISTILLED: Model("fast", changed_by)})
    assert rows["distilled"][0].split(maxsplit=1) == ["fast", changed_by]
    assert changed_by in ("+ 0.5 × style of monsters since origin", "LoRA × 0.8 on monsters")


def test_why_they_live_where_they_do() -> None:
    _, below = shown(placed=Placed("on cuda:0", "on cuda:0", "7.1 GiB free on cuda:0, 5.0 GiB needed for both"))
    assert below == "<p class='diversity-found'>memory: 7.1 GiB free on cuda:0, 5.0 GiB needed for both</p>"


@pytest.mark.parametrize("mode", ["hybrid", "base"])
def test_hostile_names_stay_text(mode: str) -> None:
    evil = "<img src=x onerror='alert(1)'>\"&"
    options = Options(mode=mode, passes="both")
    plan = Plan(tuple(plan_pass(pass_request(name), options, SCHEDULE) for name in (evil, "hires pass")), SCHEDULE)
    text = summary_html(Session(options, plan, evil), dict.fromkeys(Phase, Model(evil, evil)), Placed(evil, evil, evil))
    assert text.count("&lt;img") >= 4
    assert "<img" not in text
    assert "onerror='" not in text
