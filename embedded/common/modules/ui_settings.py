"""The tab Settings, and the settings on top of the page."""

from __future__ import annotations

from typing import Any

import gradio as gr

from modules import flavour_page, model_handling, script_callbacks, shared
from modules.call_queue import wrap_gradio_call_no_job
from modules.options import OptionInfo
from modules.shared import opts
from modules.ui_common import create_refresh_button


def _arguments(info: OptionInfo) -> Any:
    return (info.component_args() if callable(info.component_args) else info.component_args) or {}


def _component_class(info: OptionInfo) -> Any:
    if info.component is not None:
        return info.component
    kinds: dict[type, Any] = {bool: gr.Checkbox, int: gr.Number, float: gr.Number, str: gr.Textbox}
    return kinds.get(type(info.default), gr.Textbox)


def create_setting_component(key: str, is_quicksettings: bool = False) -> Any:
    info = opts.data_labels[key]
    value = opts.data.get(key, info.default)
    elem_id = f"setting_{key}"
    args = _arguments(info)
    if info.refresh is None:
        return _component_class(info)(label=info.label, value=value, elem_id=elem_id, **args)
    with gr.Row(elem_id=f"row_{elem_id}" if is_quicksettings else None):
        component = _component_class(info)(label=info.label, value=value, elem_id=elem_id, **args)
        create_refresh_button(component, info.refresh, lambda: _arguments(info), f"refresh_{key}")
    return component


def get_value_for_setting(key: str) -> Any:
    info = opts.data_labels[key]
    args = {k: v for k, v in _arguments(info).items() if k != "precision"}
    return gr.update(value=getattr(opts, key), **args)


def _settable(info: OptionInfo) -> bool:
    return (
        not info.do_not_save
        and info.section is not None
        and info.section[0] is not None
        and not isinstance(info.default, list)
    )


class UiSettings:
    """`register_settings` asks extensions for theirs before anything is built."""

    def __init__(self) -> None:
        self.component_dict: dict[str, Any] = {}
        self.components: list[Any] = []
        self.keys: list[str] = []
        self.interface: Any = None
        self.text_settings: Any = None
        self.quicksettings: dict[str, Any] = {}

    def register_settings(self) -> None:
        script_callbacks.ui_settings_callback()

    def run_settings(self, *args: Any) -> tuple[Any, str]:
        changed = [key for key, value in zip(self.keys, args) if model_handling.change_setting(key, value)]
        opts.save(shared.config_filename)
        return opts.dumpjson(), f"{len(changed)} settings changed{': ' if changed else ''}{', '.join(changed)}."

    def run_settings_single(self, value: Any, key: str) -> tuple[Any, str]:
        model_handling.change_setting(key, value)
        opts.save(shared.config_filename)
        return get_value_for_setting(key), opts.dumpjson()

    def create_ui(self, loadsave: Any) -> None:
        opts.reorder()
        section: Any = None
        with gr.Blocks(analytics_enabled=False) as self.interface:
            with gr.Row():
                self.submit = gr.Button(value="Apply settings", variant="primary", elem_id="settings_submit")
                self.restart = gr.Button(value="Reload UI", variant="primary", elem_id="settings_restart_gradio")
            self.result = gr.HTML(elem_id="settings_result")
            with gr.Column(elem_id="settings"):
                for key, info in opts.data_labels.items():
                    if not _settable(info) or key in opts.quicksettings_list:
                        continue
                    if info.section != section:
                        section = info.section
                        gr.HTML(f"<h3>{section[1] if section else ''}</h3>")
                    self.component_dict[key] = create_setting_component(key)
                    self.keys.append(key)
            gr.HTML("<h3>Defaults</h3>")
            loadsave.create_ui()
            self.components = [self.component_dict[key] for key in self.keys]
            self.text_settings = gr.Textbox(elem_id="settings_json", value=lambda: opts.dumpjson(), visible=False)
        shared.settings_components = self.component_dict

    def add_quicksettings(self) -> None:
        with gr.Row(elem_id="quicksettings", variant="compact"):
            own = flavour_page.top_of_page()
            for key in opts.quicksettings_list:
                if key in opts.data_labels and key not in own:
                    self.quicksettings[key] = self.component_dict[key] = create_setting_component(
                        key, is_quicksettings=True
                    )

    def add_functionality(self, demo: Any) -> None:
        self.submit.click(
            fn=wrap_gradio_call_no_job(self.run_settings, extra_outputs=[gr.update()]),
            inputs=self.components,
            outputs=[self.text_settings, self.result],
        )
        self.restart.click(fn=shared.state.request_restart, _js="restart_reload", inputs=[], outputs=[])
        for key, component in self.quicksettings.items():
            event = component.release if hasattr(component, "release") else component.change

            def change(value: Any, key: str = key) -> tuple[Any, str]:
                return self.run_settings_single(value, key)

            event(
                fn=change,
                inputs=[component],
                outputs=[component, self.text_settings],
                show_progress=key == "sd_model_checkpoint",
            )
        for key, component in self.quicksettings.items():
            demo.load(fn=lambda key=key: get_value_for_setting(key), inputs=[], outputs=[component], queue=False)
