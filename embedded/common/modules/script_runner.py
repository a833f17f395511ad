"""One tab's scripts: their places on the page and among a request's arguments, and the calls of their hooks."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import gradio as gr

from modules import errors
from modules.script_base import AlwaysVisible, Script


def _guarded(what: str, script: Script, call: Callable[[], Any]) -> None:
    """What it raises is reported and swallowed."""
    try:
        call()
    except Exception:
        errors.report(f"{what} of {script.filename} failed", exc_info=True)


class ScriptRunner:
    """`inputs[0]` is the list of scripts; script `s` owns `inputs[s.args_from:s.args_to]`, so of `p.script_args`."""

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

        self.__init__()
        for data in scripts.scripts_data:
            try:
                self._admit(data.script_class(), data.path, is_img2img)
            except Exception:
                errors.report(f"A script of {data.path} is left out", exc_info=True)

    def _admit(self, script: Script, path: str, is_img2img: bool) -> None:
        script.filename, script.tabname = path, "img2img" if is_img2img else "txt2img"
        script.is_img2img, script.is_txt2img = is_img2img, not is_img2img
        if shown := script.show(is_img2img):
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
        titles = [script.title() for script in self.selectable_scripts]
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
        around = gr.Group(visible=script.alwayson) if script.create_group else contextlib.nullcontext()
        with around as script.group:
            _guarded("ui", script, lambda: self._build_inside(script))

    def _build_inside(self, script: Script) -> None:
        script.controls = script.ui(script.is_img2img)
        if script.controls is None:
            return
        script.name = script.title().lower()
        self.inputs.extend(script.controls)
        script.args_to = len(self.inputs)
        self.infotext_fields.extend(script.infotext_fields or ())
        self.paste_field_names.extend(script.paste_field_names or ())

    def run(self, p: Any, *args: Any) -> Any:
        """The result of the script that was chosen; None where none is. Its exceptions pass through."""
        for number, script in enumerate(self.selectable_scripts, start=1):
            if number == args[0]:
                return script.run(p, *args[script.args_from : script.args_to])
        return None

    def having(self, hook: str, scripts: Sequence[Script]) -> list[Script]:
        """Those whose class has a method of its own for the hook."""
        return [script for script in scripts if getattr(type(script), hook) is not getattr(Script, hook)]

    def __getattr__(self, hook: str) -> Callable[..., None]:
        """`process(p)` and the like."""
        if hook not in Script.HOOKS:
            raise AttributeError(hook)
        return functools.partial(self.call, hook)

    def call(self, hook: str, p: Any, *given: Any, is_ui: bool = True, **kwargs: Any) -> None:
        """The hook of every always-on script that has one of its own: with `p`, what is given, and its arguments."""
        for script in self.having(hook, self.alwayson_scripts):
            if is_ui or not script.setup_for_ui_only:
                arguments = p.script_args[script.args_from : script.args_to]
                _guarded(hook, script, lambda: getattr(script, hook)(p, *given, *arguments, **kwargs))  # noqa: B023

    def announce(self, hook: str, component: Any, given: dict[str, Any]) -> None:
        """That a component is about to be made ("before_component") or was ("after_component")."""
        for script in self.scripts if hook == "after_component" else ():
            for elem_id, callback in script.wanted_components:
                if elem_id == given.get("elem_id"):
                    _guarded(f"on_{hook}", script, lambda: callback(SimpleNamespace(component=component)))  # noqa: B023
        for script in self.having(hook, self.scripts):
            _guarded(hook, script, lambda: getattr(script, hook)(component, **given))  # noqa: B023
