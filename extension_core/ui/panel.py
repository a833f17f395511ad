"""The accordion's components, one for each option, in the options' frozen order."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from extension_core.options import BY_NAME, FIELDS, Options
from extension_core.ui.components import HostParts, Reach, component

# Which options share a row; everything else about them comes from `FIELDS`.
ROWS: tuple[tuple[str, ...], ...] = (
    ("loaded_is",),
    ("distilled_model", "family"),
    ("mode", "passes"),
    ("switch_step", "base_steps"),
    ("base_cfg", "distilled_cfg"),
    ("base_sampler", "schedule"),
    ("file_steps",),
    ("text_encoder", "lora_strength"),
    ("lora_targets",),
    ("base_lora_factor", "distilled_lora_factor"),
    ("carry_from", "carry_strength"),
    ("residency", "grid_diversity"),
)
_FACTOR = Reach(2, 0.05)
_REACHES = {
    "switch_step": Reach(12),
    "base_steps": Reach(50),
    "file_steps": Reach(16),
    "base_cfg": Reach(15),
    "distilled_cfg": Reach(15),
    **dict.fromkeys(("lora_strength", "base_lora_factor", "distilled_lora_factor", "carry_strength"), _FACTOR),
}


@dataclass(frozen=True)
class Panel:
    """The built panel.

    Attributes:
        components: one input for each option, in the options' order.
        plan_line: where the plan is shown.
        pasted_line: what is to be said of the infotext that was pasted last, "" for nothing.
    """

    components: list[Any]
    plan_line: Any
    pasted_line: Any


def build(host: HostParts) -> Panel:
    """Build the accordion inside the current gradio Blocks; may be called any number of times."""
    made: dict[str, Any] = {}
    enabled, defaults = BY_NAME["enabled"], Options()
    with host.accordion(False, label=enabled.label, elem_id=host.elem_id("enabled")) as made["enabled"]:
        plan_line = gr.HTML(value="", elem_id=host.elem_id("plan"), elem_classes=["diversity-plan"])
        pasted = gr.HTML(value="", elem_id=host.elem_id("pasted"), elem_classes=["diversity-plan", "diversity-pasted"])
        for row in ROWS:
            with gr.Row(elem_classes=["diversity-row"]):
                for name in row:
                    made[name] = component(BY_NAME[name], getattr(defaults, name), host, name, _REACHES.get(name))
                    if BY_NAME[name].kind == "model":
                        host.refresh_button(made[name], host.elem_id(f"{name}_refresh"))
    return Panel([made[spec.name] for spec in FIELDS], plan_line, pasted)


def build_disabled(sentence: str, elem_id: Callable[[str], str]) -> Any:
    """An accordion that only says why the extension cannot work here.

    Its one hidden input is where an API request lays its arguments, so that the request is refused, not ignored.
    """
    with gr.Accordion("Diversity Distillation (unavailable)", open=False, elem_id=elem_id("unavailable")):
        gr.HTML(value=problem_html(sentence), elem_classes=["diversity-plan"])
        return gr.Checkbox(value=False, visible=False, elem_id=elem_id("enabled"))


def plan_html(line: str, found: str, summary: str, warnings: Sequence[str] = ()) -> str:
    """The plan as one readable line, what to mind, what the family's detection found, and the models' table (HTML)."""
    minded = "".join(f"<p class='diversity-warning'>{html.escape(sentence)}</p>" for sentence in warnings)
    why = f"<p class='diversity-found'>{html.escape(found)}</p>" if found else ""
    return f"<p class='diversity-line'>{html.escape(line)}</p>{minded}{why}{summary}"


def problem_html(sentence: str) -> str:
    """The sentence that says why there is no plan."""
    return f"<p class='diversity-problem'>{html.escape(sentence)}</p>"
