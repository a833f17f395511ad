"""One tab's scripts: their places on the page and among a request's arguments, and the calls of their hooks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr

from modules import errors
from modules.script_base import AlwaysVisible, OnComponent, Script


def _guarded(what: str, script: Script, call: Callable[[], Any], otherwise: Any = None) -> Any:
    """What the call returns; an exception is reported and swallowed."""
    try:
        return call()
    except Exception:
        errors.report(f"{what} of {script.filename} failed", exc_info=True)
        return otherwise


def _hook(name: str) -> Callable[..., None]:
    """Calls the hook of every always-on script that has one of its own, with `p`, what is given, and its arguments."""

    def call(self: ScriptRunner, p: Any, *given: Any, **kwargs: Any) -> None:
        for script in self.having(name, self.alwayson_scripts):
            arguments = p.script_args[script.args_from : script.args_to]
            _guarded(name, script, lambda: getattr(script, name)(p, *given, *arguments, **kwargs))  # noqa: B023

    return call


class ScriptRunner:
    """`inputs[0]` is the list of scripts to choose from; script `s` owns `inputs[s.args_from:s.args_to]`, and the same
    places of `p.script_args`.
    """

    def __init__(self) -> None:
        self.scripts: list[Script] = []
        self.alwayson_scripts: list[Script] = []
        self.selectable_scripts: list[Script] = []
        self.inputs: list[Any] = [None]
        self.infotext_fields: list[Any] = []
        self.paste_field_names: list[Any] = []

    def initialize_scripts(self, is_img2img: bool) -> None:
        """A new object of every class, of those that show on this tab."""
        from modules import scripts

        for known in (self.scripts, self.alwayson_scripts, self.selectable_scripts):
            known.clear()
        self.inputs, self.infotext_fields, self.paste_field_names = [None], [], []
        for data in scripts.scripts_data:
            try:
                self._admit(data.script_class(), data.path, is_img2img)
            except Exception:
                errors.report(f"A script of {data.path} is left out", exc_info=True)

    def _admit(self, script: Script, path: str, is_img2img: bool) -> None:
        script.filename, script.tabname = path, "img2img" if is_img2img else "txt2img"
        script.is_img2img, script.is_txt2img = is_img2img, not is_img2img
        shown = script.show(is_img2img)
        if shown:
            script.alwayson = shown is AlwaysVisible
            self.scripts.append(script)
            (self.alwayson_scripts if script.alwayson else self.selectable_scripts).append(script)

    def build_section(self, section: str | None) -> None:
        """The always-on scripts whose place on the page this is."""
        for script in self.alwayson_scripts:
            if script.section == section:
                self._build(script)

    def build_rest(self) -> list[Any]:
        """Scripts without a place of their own, and those to choose from. The components of all scripts."""
        self.build_section(None)
        titles = [_guarded("title", script, script.title, script.filename) for script in self.selectable_scripts]
        chosen = gr.Dropdown(["None", *titles], value="None", type="index", label="Script", elem_id="script_list")
        self.inputs[0] = chosen
        for script in self.selectable_scripts:
            self._build(script)
        groups = [script.group for script in self.selectable_scripts]

        def show(number: int | None) -> Any:
            updates = [gr.update(visible=place == number) for place, _ in enumerate(groups, start=1)]
            return updates[0] if len(updates) == 1 else updates  # gradio takes the only output's value bare

        if groups:
            chosen.change(fn=show, inputs=[chosen], outputs=groups)
        self.infotext_fields.append((chosen, lambda params: params.get("Script", "None")))
        return self.inputs

    def _build(self, script: Script) -> None:
        script.args_from = script.args_to = len(self.inputs)
        if not script.create_group:
            _guarded("ui", script, lambda: self._build_inside(script))
            return
        with gr.Group(visible=script.alwayson) as script.group:
            _guarded("ui", script, lambda: self._build_inside(script))

    def _build_inside(self, script: Script) -> None:
        controls = script.ui(script.is_img2img)
        if controls is None:
            return
        script.name, script.controls = script.title().lower(), controls
        self.inputs.extend(controls)
        script.args_to = len(self.inputs)
        self.infotext_fields.extend(script.infotext_fields or ())
        self.paste_field_names.extend(script.paste_field_names or ())

    def run(self, p: Any, *args: Any) -> Any:
        """The result of the script that was chosen; None where none is. Its exceptions pass through."""
        for number, script in enumerate(self.selectable_scripts, start=1):
            if number == args[0]:
                return script.run(p, *args[script.args_from : script.args_to])
        return None

    def script(self, title: str) -> Script | None:
        return next((script for script in self.scripts if script.name == title.lower()), None)

    def having(self, hook: str, scripts: Sequence[Script]) -> list[Script]:
        """Those whose class has a method of its own for the hook."""
        return [script for script in scripts if getattr(type(script), hook) is not getattr(Script, hook)]

    def setup_scrips(self, p: Any, *, is_ui: bool = True) -> None:
        """The hosts' name, typing error included."""
        for script in self.having("setup", self.alwayson_scripts):
            if is_ui or not script.setup_for_ui_only:
                arguments = p.script_args[script.args_from : script.args_to]
                _guarded("setup", script, lambda: script.setup(p, *arguments))  # noqa: B023

    before_process = _hook("before_process")
    process = _hook("process")
    before_process_batch = _hook("before_process_batch")
    after_extra_networks_activate = _hook("after_extra_networks_activate")
    process_batch = _hook("process_batch")
    process_before_every_sampling = _hook("process_before_every_sampling")
    on_mask_blend = _hook("on_mask_blend")
    before_hr = _hook("before_hr")
    post_sample = _hook("post_sample")
    postprocess_batch_list = _hook("postprocess_batch_list")
    postprocess_image = _hook("postprocess_image")
    postprocess_maskoverlay = _hook("postprocess_maskoverlay")
    postprocess_image_after_composite = _hook("postprocess_image_after_composite")
    postprocess = _hook("postprocess")
    _postprocess_batch = _hook("postprocess_batch")

    def postprocess_batch(self, p: Any, images: Any, **kwargs: Any) -> None:
        self._postprocess_batch(p, images=images, **kwargs)

    def announce(self, hook: str, component: Any, given: dict[str, Any]) -> None:
        """That a component is about to be made ("before_component") or was ("after_component")."""
        made = OnComponent(component=component)
        for script in self.scripts:
            for wanted, elem_id, callback in script.wanted_components or ():
                if (wanted, elem_id) == (hook, given.get("elem_id")):
                    _guarded(f"on_{hook}", script, lambda: callback(made))  # noqa: B023
        for script in self.having(hook, self.scripts):
            _guarded(hook, script, lambda: getattr(script, hook)(component, **given))  # noqa: B023
