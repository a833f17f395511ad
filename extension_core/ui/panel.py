"""The accordion: one component for each option, each at its place, and where the page says what will run."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr  # pyright: ignore[reportMissingTypeStubs]

from extension_core.options.hybrid import BY_NAME, FIELDS, Options
from extension_core.ui.components import HostParts, Reach, component
from extension_core.ui.groups import FIRST_GLANCE, GROUPS, Group, Rows, default_of

_FACTOR = Reach(2, 0.05)
REACHES = {
    "switch_step": Reach(12),
    "base_steps": Reach(50),
    "file_steps": Reach(16),
    "base_cfg": Reach(15),
    "distilled_cfg": Reach(15),
    **dict.fromkeys(("lora_strength", "base_lora_factor", "distilled_lora_factor", "carry_strength"), _FACTOR),
}
_LOADED = "the checkpoint that is loaded"
_CHOSEN = "the chosen checkpoint, not loaded yet"  # by Forge, with the first image


@dataclass(frozen=True)
class Panel:
    """The built panel.

    Attributes:
        components: one input for each option, in the options' order.
        models: those of them that choose a file.
        shown: what is made anew when anything changes: the base's line and the plan.
        pasted_line: what is to be said of the infotext that was pasted last, "" for nothing.
        ask: what the page's JavaScript presses to have `shown` made anew.
    """

    components: list[Any]
    models: list[Any]
    shown: list[Any]
    pasted_line: Any
    ask: Any


def build(host: HostParts) -> Panel:
    """Build the accordion inside the current gradio Blocks; may be called any number of times."""
    made: dict[str, Any] = {}
    enabled = BY_NAME["enabled"]
    with host.accordion(False, label=enabled.label, elem_id=host.elem_id("enabled")) as made["enabled"]:
        base_line = gr.HTML(value=base_html(""), elem_id=host.elem_id("base"), elem_classes=["diversity-base"])
        _add_rows(FIRST_GLANCE, host, made)
        plan = gr.HTML(value="", elem_id=host.elem_id("plan"), elem_classes=["diversity-plan"])
        # The page's JavaScript makes it work: the DT-preview's Compare in other clothes (diversity_dt_comparing.mjs).
        with gr.Row(elem_classes=["diversity-row", "diversity-try"]):
            _button("Try it", host.elem_id("try"), size="sm")
        pasted = gr.HTML(value="", elem_id=host.elem_id("pasted"), elem_classes=["diversity-plan", "diversity-pasted"])
        for group in GROUPS:
            _add_group(group, host, made)
        # Hidden by style.css: what gradio itself hides is not on every page.
        with gr.Row(elem_classes=["diversity-page"]):
            ask = _button("Plan", host.elem_id("ask"))
    models = [made[spec.name] for spec in FIELDS if spec.kind == "model"]
    return Panel([made[spec.name] for spec in FIELDS], models, [base_line, plan], pasted, ask)


def _add_rows(rows: Rows, host: HostParts, made: dict[str, Any]) -> None:
    defaults = Options()
    for row in rows:
        with gr.Row(elem_classes=["diversity-row"]):
            for name in row:
                made[name] = component(BY_NAME[name], getattr(defaults, name), host, name, REACHES.get(name))
                if BY_NAME[name].kind == "model":
                    host.refresh_button(made[name], host.elem_id(f"{name}_refresh"))


def _add_group(group: Group, host: HostParts, made: dict[str, Any]) -> None:
    elem_id = host.elem_id(f"group_{group.name}")
    with gr.Accordion(group.title, open=False, elem_id=elem_id, elem_classes=["diversity-group"]):
        _add_rows(group.rows, host, made)
        reset = _button(f"Reset {group.title}", f"{elem_id}_reset", elem_classes=["diversity-reset"], size="sm")
    components = [made[name] for name in group.options]
    values = [BY_NAME[name].as_shown(default_of(name)) for name in group.options]
    defaults = values if len(values) > 1 else values[0]
    reset.click(fn=lambda: defaults, outputs=components, queue=False, show_progress=False)


def _button(label: str, elem_id: str, **looks: Any) -> Any:
    """One that the host keeps no value of."""
    button: Any = gr.Button(label, elem_id=elem_id, **looks)
    button.do_not_save_to_config = True
    return button


def build_disabled(sentence: str, elem_id: Callable[[str], str]) -> Any:
    """An accordion that only says why the extension cannot work here.

    Its one hidden input is where an API request lays its arguments, so that the request is refused, not ignored.
    """
    with gr.Accordion("Diversity Distillation (unavailable)", open=False, elem_id=elem_id("unavailable")):
        gr.HTML(value=problem_html(sentence), elem_classes=["diversity-plan"])
        return gr.Checkbox(value=False, visible=False, elem_id=elem_id("enabled"))


def base_html(name: str, is_distilled: bool = False, is_loaded: bool = True) -> str:
    """The line that says what the host's checkpoint is: the base, if the roles are not turned round."""
    part, other = ("Distilled", "; the base is chosen below") if is_distilled else ("Base", "")
    which = _LOADED if is_loaded else _CHOSEN
    return f"<p><b>{part}</b> <span>{html.escape(name)}</span> <small>{which}{other}</small></p>"


def plan_html(
    words: Iterable[str], line: str, smaller: Sequence[str], summary: str, warnings: Iterable[str] = ()
) -> str:
    """The plan as HTML: in words, then what to be warned of, then levels and calls, then the models' table."""
    return "".join(
        (
            *(_paragraph("words", text) for text in words if text),
            *(_paragraph("warning", text) for text in warnings if text),
            _paragraph("line", line),
            *(_paragraph("found", text) for text in smaller if text),
            summary,
        )
    )


def problem_html(sentence: str) -> str:
    """The sentence that says why there is no plan."""
    return _paragraph("problem", sentence)


def later_html(sentence: str) -> str:
    """The sentence that says when there will be a plan."""
    return _paragraph("words", sentence)


def off_html() -> str:
    """What stands where the plan will be."""
    return _paragraph("found", "Not ticked: images are made by the base alone, with the settings above.")


def _paragraph(kind: str, text: str) -> str:
    return f"<p class='diversity-{kind}'>{html.escape(text)}</p>"
