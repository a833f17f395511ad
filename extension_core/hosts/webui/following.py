"""What the plan line follows on the host's page: the settings a plan depends on, and signs of another checkpoint."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import gradio as gr
from gradio.context import Context
from modules import script_callbacks

from extension_core.ui.panel import Panel

# The host's own settings that a plan and its models' places depend on, by the fields of its request, and their elem_ids
# (modules/ui.py, modules/processing_scripts/sampler.py, 1.10.1). Without the first three no plan line follows them.
HOST_SETTINGS: dict[str, str] = {
    "steps": "{tab}_steps",
    "sampler_name": "{tab}_sampling",
    "scheduler": "{tab}_scheduler",
    "denoising_strength": "{tab}_denoising_strength",
    "width": "{tab}_width",
    "height": "{tab}_height",
    "batch_size": "{tab}_batch_size",
    "enable_hr": "{tab}_hr-checkbox",
    "hr_upscaler": "{tab}_hr_upscaler",
    "hr_second_pass_steps": "{tab}_hires_steps",
    "hr_sampler_name": "hr_sampler",
    "hr_scheduler": "hr_scheduler",
    "hr_checkpoint_name": "hr_checkpoint",
    "hr_scale": "{tab}_hr_scale",
    "hr_resize_x": "{tab}_hr_resize_x",
    "hr_resize_y": "{tab}_hr_resize_y",
    "prompt": "{tab}_prompt",
    "negative_prompt": "{tab}_neg_prompt",
}
# Followed when they are left, not at every key: only what is said beside the plan depends on them.
_TYPED = ("prompt", "negative_prompt")
_NEEDED = frozenset(("steps", "sampler_name", "scheduler"))
# The host writes all its settings here once it has stored one, on A1111 once it has loaded the checkpoint as well
# (modules/ui_settings.py, 1.10.1); and here what an image was made from, for which Forge loads the checkpoint. Both are
# text boxes: what shows HTML says that it changed whenever anything on the page does (gradio 4.40).
_SIGNS = ("settings_json", "generation_info_{tab}")
# Forge's drop-down has no id, and what it changes is stored by another event, at the same time (modules_forge/
# main_entry.py, dfdcbab6); so its own value is read.
_CHECKPOINT_CLASS = "model_selection"

Line = Callable[..., str]


def note_setting(settings: dict[str, Any], component: Any, elem_id: str | None, is_img2img: bool) -> None:
    """Keep a component if it is one of the host settings that the plan line depends on."""
    for name, pattern in HOST_SETTINGS.items():
        if elem_id == pattern.format(tab=_tab(is_img2img)):
            settings[name] = component


def keep_current(line: Line, built: Panel, settings: dict[str, Any], is_img2img: bool) -> None:
    """Show the plan anew when an option, a setting of the host's or its checkpoint changes.

    Args:
        line: (names of settings, the options' values, the settings' values) -> HTML.
    """
    if not settings.keys() >= _NEEDED:
        return
    inputs = [*built.components, *settings.values()]
    asked = gr.State(Asked())
    typed = [settings[name] for name in _TYPED if name in settings]
    for component in inputs:
        event = component.blur if component in typed else component.change
        _show_on(event, line, tuple(settings), [asked, *inputs], built)
    signs = [pattern.format(tab=_tab(is_img2img)) for pattern in _SIGNS]

    def listen(component: Any, **kwargs: Any) -> None:
        if Context.root_block is None:
            return  # gradio 4 makes a component anew for every answer that changes one
        if kwargs.get("elem_id") in signs:
            _show_on(component.change, line, tuple(settings), [asked, *inputs], built)
        elif _CHECKPOINT_CLASS in (kwargs.get("elem_classes") or ()):
            names = (*settings, "sd_model_checkpoint")
            _show_on(component.change, line, names, [asked, *inputs, component], built)

    script_callbacks.on_after_component(listen)  # these components are made after the accordion


def _show_on(event: Any, line: Line, names: tuple[str, ...], inputs: list[Any], built: Panel) -> None:
    shown = newest_alone(functools.partial(line, names))
    event(fn=shown, inputs=inputs, outputs=[built.plan_line], show_progress=False, queue=False)


class Asked:
    """Which plan a page has asked for last; the host keeps one for each page."""

    newest: object = None


def newest_alone(line: Line) -> Callable[..., Any]:
    """`line`, called with `Asked` first; changes nothing if the page has asked again meanwhile.

    A page sends what follows two quick changes at once, and the answers come in any order.
    """

    def shown(asked: Asked, *values: Any) -> Any:
        mine = asked.newest = object()
        answer = line(*values)
        return answer if asked.newest is mine else gr.update()

    return shown


def _tab(is_img2img: bool) -> str:
    return "img2img" if is_img2img else "txt2img"
