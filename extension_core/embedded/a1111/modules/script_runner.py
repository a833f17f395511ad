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
        errors.report(f"Error calling: {filename}/{funcname}", exc_info=True)
    return default


def _api_argument(control: Any) -> Any:
    from modules.api import models

    info = models.ScriptArg(label=control.label or "")
    for field in ("value", "minimum", "maximum", "step"):
        if (v := getattr(control, field, None)) is not None:
            setattr(info, field, v)
    if (choices := getattr(control, "choices", None)) is not None:
        info.choices = [x[0] if isinstance(x, tuple) else x for x in choices]
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
        self.callback_names = [
            x for x in Script.HOOKS if x not in ("setup", "process_before_every_sampling", "before_hr")
        ]
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
                errors.report(f"Error # failed to initialize Script {data.module}: ", exc_info=True)
                continue
            self._place(script, data.path, is_img2img)
        self.callback_map.clear()
        self.apply_on_before_component_callbacks()

    def _place(self, script: Script, path: str, is_img2img: bool) -> None:
        script.filename = path
        script.is_txt2img = not is_img2img
        script.is_img2img = is_img2img
        script.tabname = "img2img" if is_img2img else "txt2img"
        visibility = script.show(script.is_img2img)
        if visibility == AlwaysVisible:
            self.scripts.append(script)
            self.alwayson_scripts.append(script)
            script.alwayson = True
        elif visibility:
            self.scripts.append(script)
            self.selectable_scripts.append(script)

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
            errors.report(f"Error creating UI for {script.name}: ", exc_info=True)

    def create_script_ui_inner(self, script: Script) -> None:
        from modules.api import models

        controls = wrap_call(script.ui, script.filename, "ui", script.is_img2img)
        script.controls = controls
        if controls is None:
            return
        script.name = wrap_call(script.title, script.filename, "title", default=script.filename).lower()
        for control in controls:
            control.custom_script_source = os.path.basename(script.filename)
        arguments = [_api_argument(control) for control in controls]
        script.api_info = models.ScriptInfo(
            name=script.name, is_img2img=script.is_img2img, is_alwayson=script.alwayson, args=arguments
        )
        self.infotext_fields += script.infotext_fields or []
        self.paste_field_names += script.paste_field_names or []
        self.inputs += controls
        script.args_to = len(self.inputs)

    def setup_ui_for_section(self, section: str | None, scriptlist: list[Script] | None = None) -> None:
        for script in self.alwayson_scripts if scriptlist is None else scriptlist:
            if script.alwayson and script.section != section:
                continue
            if script.create_group:
                with gr.Group(visible=script.alwayson) as group:
                    self.create_script_ui(script)
                script.group = group
            else:
                self.create_script_ui(script)

    def prepare_ui(self) -> None:
        self.inputs = [None]

    def setup_ui(self) -> list[Any]:
        titles = [wrap_call(script.title, script.filename, "title") or script.filename for script in self.scripts]
        self.title_map = {title.lower(): script for title, script in zip(titles, self.scripts)}
        self.titles = [
            wrap_call(s.title, s.filename, "title") or f"{s.filename} [error]" for s in self.selectable_scripts
        ]
        self.setup_ui_for_section(None)
        dropdown = gr.Dropdown(
            label="Script", elem_id="script_list", choices=["None", *self.titles], value="None", type="index"
        )
        self.inputs[0] = dropdown
        self.setup_ui_for_section(None, self.selectable_scripts)

        def select_script(script_index: int | None) -> list[Any]:
            selected = self.selectable_scripts[script_index - 1] if script_index else None
            return [gr.update(visible=selected is s) for s in self.selectable_scripts]

        groups = [s.group for s in self.selectable_scripts]
        if groups:
            dropdown.change(fn=select_script, inputs=[dropdown], outputs=groups)
        self.infotext_fields.append((dropdown, lambda x: gr.update(value=x.get("Script", "None"))))
        self.apply_on_before_component_callbacks()
        return self.inputs

    def run(self, p: Any, *args: Any) -> Any:
        """Runs the selected script and returns its Processed; None where none is selected. Exceptions pass through."""
        script_index = args[0]
        if not script_index:
            return None
        script = self.selectable_scripts[script_index - 1]
        processed = script.run(p, *args[script.args_from : script.args_to])
        shared.total_tqdm.clear()
        return processed

    def script(self, title: str) -> Script | None:
        return self.title_map.get(title.lower())

    def create_ordered_callbacks_list(self, method_name: str, *, enable_user_sort: bool = True) -> list[ScriptCallback]:
        category = f"script_{method_name}"
        callbacks: list[ScriptCallback] = []
        in_all = method_name in ("before_component", "after_component")
        for script in self.scripts if in_all else self.alwayson_scripts:
            if getattr(type(script), method_name, None) != getattr(Script, method_name, None):
                script_callbacks.add_callback(
                    callbacks, script, category=category, name=type(script).__name__, filename=script.filename
                )
        return script_callbacks.sort_callbacks(category, callbacks, enable_user_sort=enable_user_sort)

    def ordered_callbacks(self, method_name: str, *, enable_user_sort: bool = True) -> list[ScriptCallback]:
        category = f"script_{method_name}"
        count, callbacks = self.callback_map.get(category, (-1, []))
        if count != len(self.scripts):
            callbacks = self.create_ordered_callbacks_list(method_name, enable_user_sort=enable_user_sort)
            self.callback_map[category] = len(self.scripts), callbacks
        return callbacks

    def ordered_scripts(self, method_name: str) -> list[Script]:
        return [x.callback for x in self.ordered_callbacks(method_name)]

    def _call(self, hook: str, p: Any, *first: Any, **kwargs: Any) -> None:
        for script in self.ordered_scripts(hook):
            try:
                getattr(script, hook)(p, *first, *p.script_args[script.args_from : script.args_to], **kwargs)
            except Exception:
                errors.report(f"Error running {hook}: {script.filename}", exc_info=True)

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
                    errors.report(f"Error running setup: {script.filename}", exc_info=True)

    def _component(
        self, hook: str, table: dict[str, list[Any]], elem_id: str | None, component: Any, kwargs: dict[str, Any]
    ) -> None:
        for callback, script in table.get(elem_id or "", []):
            try:
                callback(OnComponent(component=component))
            except Exception:
                errors.report(f"Error running on_{hook}: {script.filename}", exc_info=True)
        for script in self.ordered_scripts(hook):
            try:
                getattr(script, hook)(component, **kwargs)
            except Exception:
                errors.report(f"Error running {hook}: {script.filename}", exc_info=True)

    def before_component(self, component: Any, **kwargs: Any) -> None:
        self._component("before_component", self.on_before_component_elem_id, kwargs.get("elem_id"), component, kwargs)

    def after_component(self, component: Any, **kwargs: Any) -> None:
        self._component(
            "after_component", self.on_after_component_elem_id, getattr(component, "elem_id", None), component, kwargs
        )
