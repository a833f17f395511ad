"""The accordion's components, one for each option, in the options' frozen order."""

from __future__ import annotations

import html
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr

from extension_core.fields import Field
from extension_core.options import BY_NAME, FIELDS, Options

# Which options share a row; everything else about them comes from `FIELDS`.
ROWS: tuple[tuple[str, ...], ...] = (
    ("distilled_model", "family"),
    ("mode", "passes"),
    ("switch_step", "base_steps"),
    ("base_cfg", "distilled_cfg"),
    ("base_sampler", "schedule"),
    ("text_encoder", "lora_strength"),
    ("lora_targets",),
    ("base_lora_factor", "distilled_lora_factor"),
    ("carry_from", "carry_strength"),
    ("residency",),
)
_LORA_SLIDERS = ("lora_strength", "base_lora_factor", "distilled_lora_factor")
_SLIDER_TOPS = {
    "switch_step": 12,
    "base_steps": 50,
    "base_cfg": 15,
    "distilled_cfg": 15,
    **dict.fromkeys((*_LORA_SLIDERS, "carry_strength"), 2),
}
_SLIDER_STEPS: dict[str, float] = dict.fromkeys((*_LORA_SLIDERS, "carry_strength"), 0.05)


@dataclass(frozen=True)
class HostParts:
    """What the panel takes from its host.

    Attributes:
        accordion: the host's `InputAccordion`.
        models: names for the model dropdown.
        samplers: names for the base sampler dropdown.
        refresh_button: adds the host's refresh button for a dropdown: (component, elem_id).
        elem_id: the host's id for an element of this script on this tab.
        tooltip: keyword arguments that show a text as the host shows tooltips.
    """

    accordion: Callable[..., Any]
    models: Callable[[], list[str]]
    samplers: Callable[[], list[str]]
    refresh_button: Callable[[Any, str], Any]
    elem_id: Callable[[str], str]
    tooltip: Callable[[str], dict[str, Any]]


@dataclass(frozen=True)
class Panel:
    """The built panel.

    Attributes:
        components: one input for each option, in the options' order.
        plan_line: where the plan is shown.
    """

    components: list[Any]
    plan_line: Any


def build(host: HostParts) -> Panel:
    """Build the accordion inside the current gradio Blocks; may be called any number of times."""
    made: dict[str, Any] = {}
    enabled = BY_NAME["enabled"]
    with host.accordion(False, label=enabled.label, elem_id=host.elem_id("enabled")) as made["enabled"]:
        plan_line = gr.HTML(value="", elem_id=host.elem_id("plan"), elem_classes=["diversity-plan"])
        for row in ROWS:
            with gr.Row(elem_classes=["diversity-row"]):
                for name in row:
                    made[name] = _component(BY_NAME[name], host)
                    if BY_NAME[name].kind == "model":
                        host.refresh_button(made[name], host.elem_id(f"{name}_refresh"))
    return Panel([made[spec.name] for spec in FIELDS], plan_line)


def build_disabled(sentence: str, elem_id: Callable[[str], str]) -> Any:
    """An accordion that only says why the extension cannot work here.

    Its one hidden input is where an API request lays its arguments, so that the request is refused, not ignored.
    """
    with gr.Accordion("Diversity Distillation (unavailable)", open=False, elem_id=elem_id("unavailable")):
        gr.HTML(value=problem_html(sentence), elem_classes=["diversity-plan"])
        return gr.Checkbox(value=False, visible=False, elem_id=elem_id("enabled"))


def plan_html(line: str, found: str, summary: str) -> str:
    """The plan as one readable line, what the family's detection found, and the models' table (HTML)."""
    why = f"<p class='diversity-found'>{html.escape(found)}</p>" if found else ""
    return f"<p class='diversity-line'>{html.escape(line)}</p>{why}{summary}"


def problem_html(sentence: str) -> str:
    """The sentence that says why there is no plan."""
    return f"<p class='diversity-problem'>{html.escape(sentence)}</p>"


def _component(spec: Field, host: HostParts) -> Any:
    common = {"label": spec.label, "elem_id": host.elem_id(spec.name), **host.tooltip(spec.tooltip)}
    default = getattr(Options(), spec.name)
    if spec.kind == "model":
        return gr.Dropdown(choices=["None", *host.models()], value="None", **common)
    if spec.kind == "sampler":
        return gr.Dropdown(choices=["same", *host.samplers()], value="same", **common)
    if spec.kind == "choice":
        return gr.Dropdown(choices=list(spec.choices), value=default, **common)
    top = _SLIDER_TOPS[spec.name]
    if spec.kind == "whole_or_null":
        common["label"] += " (0 = k)"
        return gr.Slider(minimum=0, maximum=top, step=1, value=0, **common)
    step = 1 if spec.kind == "whole" else _SLIDER_STEPS.get(spec.name, 0.1)
    return gr.Slider(minimum=spec.minimum, maximum=top, step=step, value=default, **common)
