"""What the panel follows on the host's page: the settings a plan depends on, and signs of another checkpoint.

A change asks the server for nothing by itself: it wakes the page's JavaScript (javascript/diversity_panel_asking.mjs),
which presses a hidden button for all that has changed, at most twice a second.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.context import Context
from modules import script_callbacks, shared

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
# What a plan does not depend on, but tells of: what it is replaced by, and how much it is to make.
_STORED = {"cfg_scale": "{tab}_cfg_scale", "n_iter": "{tab}_batch_count"}
_NEEDED = frozenset(("steps", "sampler_name", "scheduler"))
# The host writes all its settings here once it has stored one, on A1111 once it has loaded the checkpoint as well
# (modules/ui_settings.py, 1.10.1); and here what an image was made from, for which Forge loads the checkpoint. Both are
# text boxes: what shows HTML says that it changed whenever anything on the page does (gradio 4.40).
_SIGNS = ("settings_json", "generation_info_{tab}")
# Forge's drop-down has no id, and what it changes is stored by another event, at the same time (modules_forge/
# main_entry.py, dfdcbab6); so its own value is read, and by an event of its own: no tab's button is on the page's
# outermost level when it is made.
_CHECKPOINT_CLASS = "model_selection"

# The event on the page's document by which the JavaScript is woken; it names the button.
_WAKE = """() => {{ document.dispatchEvent(new CustomEvent("diversity-changed", {{ detail: "{button}" }})); }}"""

# Both gradios drop a press that comes while the answer to an earlier one is awaited: 4 unless it is told to keep the
# last, 3 always, so that the JavaScript waits with the next one.
_IN_ORDER = {"trigger_mode": "always_last"} if hasattr(gr, "on") else {}

Shown = Callable[..., tuple[str, ...]]


def note_setting(settings: dict[str, Any], component: Any, elem_id: str | None, is_img2img: bool) -> None:
    """Keep a component if it is one of the host settings that the panel follows."""
    for name, pattern in {**HOST_SETTINGS, **_STORED}.items():
        if elem_id == pattern.format(tab=_tab(is_img2img)):
            settings[name] = component


def keep_current(shown: Shown, built: Panel, settings: dict[str, Any], is_img2img: bool, files: Files) -> None:
    """Show the plan anew when an option, a setting of the host's or its checkpoint changes.

    Args:
        shown: (names of settings, the options' values, the settings' values) -> HTML for each of `built.shown`.
    """
    if not settings.keys() >= _NEEDED:
        return
    inputs = [*built.components, *settings.values()]
    memory = gr.State(PageMemory(files=_as_text(files.built)))
    names = (*settings, "sd_model_checkpoint")
    shown_of = newest_alone(functools.partial(shown, names), len(built.shown))
    with_files = and_files(shown_of, files, len(built.models))
    _ask(built.ask.click, with_files, [memory, *inputs], [*built.shown, *built.models])
    typed = [settings[name] for name in _TYPED if name in settings]
    for component in inputs:
        _wake(component.blur if component in typed else component.change, built.ask)
    signs = [pattern.format(tab=_tab(is_img2img)) for pattern in _SIGNS]

    def listen(component: Any, **kwargs: Any) -> None:
        if Context.root_block is None:
            return  # gradio 4 makes a component anew for every answer that changes one
        if kwargs.get("elem_id") in signs:
            _wake(component.change, built.ask)
        elif _CHECKPOINT_CLASS in (kwargs.get("elem_classes") or ()):
            _ask(component.change, chosen_on_page(shown_of), [component, memory, *inputs], built.shown)

    script_callbacks.on_after_component(listen)  # these components are made after the accordion


def _ask(event: Any, shown_of: Shown, inputs: list[Any], outputs: list[Any]) -> None:
    event(fn=shown_of, inputs=inputs, outputs=outputs, show_progress=False, queue=False, **_IN_ORDER)


def _wake(event: Any, button: Any) -> None:
    """Forge renames gradio 3's argument for scripts, but not yet in a component that is only just being announced
    (modules/gradio_extensions.py, dfdcbab6).
    """
    name = "js" if "js" in inspect.signature(event).parameters else "_js"
    event(fn=None, show_progress=False, queue=False, **{name: _WAKE.format(button=button.elem_id)})


@dataclass(frozen=True)
class Files:
    """What the drop-downs of files offer.

    Attributes:
        built: what they were built with.
        listed: what they offer by now.
        update: the same as gradio takes it.
    """

    built: Sequence[str]
    listed: Callable[[], Sequence[str]]
    update: Callable[[], dict[str, Any]]


@dataclass
class PageMemory:
    """What a page has asked last; the host keeps one for each page.

    Attributes:
        checkpoint: what was chosen on the page, "" once the host has stored that or another one.
        setting: the host's setting at that time.
        files: what its drop-downs of files offer, a line each: the host copies all this for each page.
    """

    newest: object = None
    checkpoint: str = ""
    setting: str = ""
    files: str = ""

    def checkpoint_by(self, setting: str) -> str:
        """The page's, as long as the host's setting is still the one of before."""
        if setting != self.setting:
            self.checkpoint, self.setting = "", setting
        return self.checkpoint or setting


def newest_alone(shown_of: Shown, count: int = 1) -> Callable[..., Any]:
    """`answer`, called with `Asked` first and the checkpoint last; changes none of its `count` outputs if another was
    called for since: the host's drop-down of checkpoints asks beside the button, and the older answer may come last.
    """
    unchanged = gr.update() if count == 1 else tuple(gr.update() for _ in range(count))

    def shown(memory: PageMemory, *values: Any) -> Any:
        memory.newest = mine = object()
        updates = shown_of(*values, memory.checkpoint_by(shared.opts.sd_model_checkpoint or ""))
        return updates if memory.newest is mine else unchanged

    return shown


def and_files(shown_of: Callable[..., Any], files: Files, count: int) -> Callable[..., Any]:
    """`answer`, followed by what `count` drop-downs of files offer if it is not what the page has."""

    def shown(memory: PageMemory, *values: Any) -> Any:
        updates = shown_of(memory, *values)
        offered = _as_text(files.listed())
        update = {} if memory.files == offered else files.update()
        memory.files = offered
        return (*updates, *(gr.update(**update) for _ in range(count)))

    return shown


def _as_text(names: Sequence[str]) -> str:
    return "\n".join(names)


def chosen_on_page(shown_of: Callable[..., Any]) -> Callable[..., Any]:
    """`answer` of `newest_alone`, called with what was chosen first, which the host stores at the same time."""

    def shown(checkpoint: str, memory: PageMemory, *values: Any) -> Any:
        memory.checkpoint, memory.setting = str(checkpoint), shared.opts.sd_model_checkpoint or ""
        return shown_of(memory, *values)

    return shown


def _tab(is_img2img: bool) -> str:
    return "img2img" if is_img2img else "txt2img"
