"""Holds one tab's scripts, lays their components out by position, and calls their hooks with exceptions reported and
swallowed.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import gradio as gr

from modules import errors, script_callbacks, shared
from modules.script_base import (
    AlwaysVisible,
    MaskBlendArgs,
    OnComponent,
    PostprocessBatchListArgs,
    PostSampleArgs,
    Script,
)
from modules.script_callbacks import ScriptCallback


def wrap_call(
    func: Callable[..., Any], filename: str, funcname: str, *args: Any, default: Any = None, **kwargs: Any
) -> Any:
    try:
        return func(*args, **kwargs)
    except Exception:
        _report(funcname, filename)
        return default


def _report(what: str, filename: str) -> None:
    errors.report(f"{what} of {filename} failed", exc_info=True)


def _title(script: Script, otherwise: str) -> str:
    return wrap_call(script.title, script.filename, "title") or otherwise


_LIMITS = ("value", "minimum", "maximum", "step")


def _api_argument(control: Any) -> Any:
    """What `/sdapi/v1/script-info` says about a component, as far as it says it itself."""
    from modules.api import models

    known = {name: getattr(control, name, None) for name in _LIMITS}
    known = {name: value for name, value in known.items() if value is not None}
    info = models.ScriptArg(label=control.label or "", **known)
    choices = getattr(control, "choices", None)
    if choices is not None:
        info.choices = [choice[0] if isinstance(choice, tuple) else choice for choice in choices]
    return info


class ScriptRunner:
    """`inputs[0]` is the dropdown; script `s` owns `inputs[s.args_from:s.args_to]`, and the same places of
    `p.script_args`.
    """

    def __init__(self) -> None:
        self.scripts: list[Script] = []
        self.selectable_scripts: list[Script] = []
        self.alwayson_scripts: list[Script] = []
        self.titles: list[str] = []
        self.title_map: dict[str, Script] = {}
        self.infotext_fields: list[Any] = []
        self.paste_field_names: list[str] = []
        self.inputs: list[Any] = [None]
        self.callback_map: dict[str, tuple[int, list[ScriptCallback]]] = {}
        unsorted = {"setup", "process_before_every_sampling", "before_hr"}
        self.callback_names = [hook for hook in Script.HOOKS if hook not in unsorted]
        self.callback_names += ["before_component", "after_component"]
        self.on_before_component_elem_id: dict[str, list[Any]] = {}
        self.on_after_component_elem_id: dict[str, list[Any]] = {}

    def initialize_scripts(self, is_img2img: bool) -> None:
        from modules import scripts

        self.scripts.clear()
        self.alwayson_scripts.clear()
        self.selectable_scripts.clear()
        for data in scripts.scripts_data:
            try:
                script = data.script_class()
            except Exception:
                _report(data.script_class.__name__, data.path)
                continue
            self._place(script, data.path, is_img2img)
        self.callback_map.clear()
        self.apply_on_before_component_callbacks()

    def _place(self, script: Script, path: str, is_img2img: bool) -> None:
        script.filename = path
        script.is_txt2img, script.is_img2img = not is_img2img, is_img2img
        script.tabname = "img2img" if is_img2img else "txt2img"
        visibility = script.show(is_img2img)
        if not visibility:
            return
        self.scripts.append(script)
        group = self.selectable_scripts
        if visibility == AlwaysVisible:
            script.alwayson, group = True, self.alwayson_scripts
        group.append(script)

    def apply_on_before_component_callbacks(self) -> None:
        for script in self.scripts:
            for asked, table in (
                (script.on_before_component_elem_id, self.on_before_component_elem_id),
                (script.on_after_component_elem_id, self.on_after_component_elem_id),
            ):
                for elem_id, callback in asked or []:
                    table.setdefault(elem_id, []).append((callback, script))
                if asked:
                    asked.clear()

    def create_script_ui(self, script: Script) -> None:
        script.args_from = script.args_to = len(self.inputs)
        try:
            self.create_script_ui_inner(script)
        except Exception:
            _report("ui", script.filename)

    def create_script_ui_inner(self, script: Script) -> None:
        from modules.api import models

        file, kind = script.filename, {"is_img2img": script.is_img2img, "is_alwayson": script.alwayson}
        script.controls = controls = wrap_call(script.ui, file, "ui", script.is_img2img)
        if controls is None:
            return
        script.name = wrap_call(script.title, file, "title", default=file).lower()
        for control in controls:
            control.custom_script_source = os.path.basename(file)
        script.api_info = models.ScriptInfo(name=script.name, args=[_api_argument(x) for x in controls], **kind)
        self.infotext_fields += script.infotext_fields or []
        self.paste_field_names += script.paste_field_names or []
        self.inputs += controls
        script.args_to = len(self.inputs)

    def setup_ui_for_section(self, section: str | None, scriptlist: list[Script] | None = None) -> None:
        """A selectable script belongs to no section; its group shows once it is selected."""
        candidates = self.alwayson_scripts if scriptlist is None else scriptlist
        for script in candidates:
            if not script.alwayson or script.section == section:
                self._create_in_group(script)

    def _create_in_group(self, script: Script) -> None:
        if not script.create_group:
            self.create_script_ui(script)
            return
        with gr.Group(visible=script.alwayson) as box:
            self.create_script_ui(script)
        script.group = box

    def prepare_ui(self) -> None:
        self.inputs = [None]

    def setup_ui(self) -> list[Any]:
        self.title_map = {_title(script, script.filename).lower(): script for script in self.scripts}
        self.titles = [_title(script, f"{script.filename} [error]") for script in self.selectable_scripts]
        self.setup_ui_for_section(None)
        dropdown = gr.Dropdown(
            label="Script", elem_id="script_list", choices=["None", *self.titles], value="None", type="index"
        )
        self.inputs[0] = dropdown
        self.setup_ui_for_section(None, scriptlist=self.selectable_scripts)

        def select_script(script_index: int | None) -> Any:
            selected = self.selectable_scripts[script_index - 1] if script_index else None
            updates = [gr.update(visible=selected is s) for s in self.selectable_scripts]
            return updates[0] if len(updates) == 1 else updates  # gradio takes the only output's value bare

        groups = [s.group for s in self.selectable_scripts]
        if groups:
            dropdown.change(fn=select_script, inputs=[dropdown], outputs=groups)
        self.infotext_fields.append((dropdown, lambda x: gr.update(value=x.get("Script", "None"))))
        self.apply_on_before_component_callbacks()
        return self.inputs

    def run(self, p: Any, *args: Any) -> Any:
        """Runs the selected script and returns its Processed; None where none is selected. Exceptions pass through."""
        selected = args[0]  # the dropdown's; 0 is "None"
        if not selected:
            return None
        script = self.selectable_scripts[selected - 1]
        result = script.run(p, *args[script.args_from : script.args_to])
        shared.total_tqdm.clear()
        return result

    def script(self, title: str) -> Script | None:
        return self.title_map.get(title.lower())

    def list_scripts_for_method(self, method_name: str) -> list[Script]:
        return self.scripts if method_name.endswith("_component") else self.alwayson_scripts

    def create_ordered_callbacks_list(self, method_name: str, *, enable_user_sort: bool = True) -> list[ScriptCallback]:
        """Scripts that override the hook, in the order that their extensions and the user ask for."""
        category, inherited = f"script_{method_name}", getattr(Script, method_name, None)
        found: list[ScriptCallback] = []
        for script in self.list_scripts_for_method(method_name):
            kind = type(script)
            if getattr(kind, method_name, None) != inherited:
                origin = {"name": kind.__name__, "filename": script.filename}
                script_callbacks.add_callback(found, script, category=category, **origin)
        return script_callbacks.sort_callbacks(category, found, enable_user_sort=enable_user_sort)

    def ordered_callbacks(self, method_name: str, *, enable_user_sort: bool = True) -> list[ScriptCallback]:
        """Remembered until the number of scripts changes, also by copies of the runner, which share what it knows."""
        category, count = f"script_{method_name}", len(self.list_scripts_for_method(method_name))
        if self.callback_map.get(category, (-1, []))[0] != count:
            fresh = self.create_ordered_callbacks_list(method_name, enable_user_sort=enable_user_sort)
            self.callback_map[category] = count, fresh
        return self.callback_map[category][1]

    def ordered_scripts(self, method_name: str) -> list[Script]:
        return [entry.callback for entry in self.ordered_callbacks(method_name)]

    def _call(self, hook: str, p: Any, *first: Any, **kwargs: Any) -> None:
        for script in self.ordered_scripts(hook):
            try:
                getattr(script, hook)(p, *first, *p.script_args[script.args_from : script.args_to], **kwargs)
            except Exception:
                _report(hook, script.filename)

    def before_process(self, p: Any) -> None:
        self._call("before_process", p)

    def process(self, p: Any) -> None:
        self._call("process", p)

    def process_before_every_sampling(self, p: Any, **kwargs: Any) -> None:
        self._call("process_before_every_sampling", p, **kwargs)

    def before_process_batch(self, p: Any, **kwargs: Any) -> None:
        self._call("before_process_batch", p, **kwargs)

    def after_extra_networks_activate(self, p: Any, **kwargs: Any) -> None:
        self._call("after_extra_networks_activate", p, **kwargs)

    def process_batch(self, p: Any, **kwargs: Any) -> None:
        self._call("process_batch", p, **kwargs)

    def postprocess(self, p: Any, processed: Any) -> None:
        self._call("postprocess", p, processed)

    def postprocess_batch(self, p: Any, images: Any, **kwargs: Any) -> None:
        self._call("postprocess_batch", p, images=images, **kwargs)

    def postprocess_batch_list(self, p: Any, pp: PostprocessBatchListArgs, **kwargs: Any) -> None:
        self._call("postprocess_batch_list", p, pp, **kwargs)

    def post_sample(self, p: Any, ps: PostSampleArgs) -> None:
        self._call("post_sample", p, ps)

    def on_mask_blend(self, p: Any, mba: MaskBlendArgs) -> None:
        self._call("on_mask_blend", p, mba)

    def postprocess_image(self, p: Any, pp: Any) -> None:
        self._call("postprocess_image", p, pp)

    def postprocess_maskoverlay(self, p: Any, ppmo: Any) -> None:
        self._call("postprocess_maskoverlay", p, ppmo)

    def postprocess_image_after_composite(self, p: Any, pp: Any) -> None:
        self._call("postprocess_image_after_composite", p, pp)

    def before_hr(self, p: Any) -> None:
        self._call("before_hr", p)

    def setup_scrips(self, p: Any, *, is_ui: bool = True) -> None:
        """The host's name, typing error included."""
        for script in self.ordered_scripts("setup"):
            if is_ui or not script.setup_for_ui_only:
                try:
                    script.setup(p, *p.script_args[script.args_from : script.args_to])
                except Exception:
                    _report("setup", script.filename)

    def _component(
        self, hook: str, table: dict[str, list[Any]], elem_id: str | None, component: Any, kwargs: dict[str, Any]
    ) -> None:
        for callback, script in table.get(elem_id or "", []):
            try:
                callback(OnComponent(component=component))
            except Exception:
                _report(f"on_{hook}", script.filename)
        for script in self.ordered_scripts(hook):
            try:
                getattr(script, hook)(component, **kwargs)
            except Exception:
                _report(hook, script.filename)

    def before_component(self, component: Any, **kwargs: Any) -> None:
        self._component("before_component", self.on_before_component_elem_id, kwargs.get("elem_id"), component, kwargs)

    def after_component(self, component: Any, **kwargs: Any) -> None:
        self._component(
            "after_component", self.on_after_component_elem_id, getattr(component, "elem_id", None), component, kwargs
        )
