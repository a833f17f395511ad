"""Changes to gradio 3.41.2 that the host makes and extensions rely on: any component takes `tooltip`, gets a class
"gradio-<kind>", and is announced to scripts before and after it is made. (The host's file name, typing error included.)
"""

from __future__ import annotations

from typing import Any

import gradio as gr

from modules import script_callbacks, scripts, ui_tempdir


def add_classes_to_gradio_component(comp: Any) -> None:
    comp.elem_classes = [f"gradio-{comp.get_block_name()}", *(comp.elem_classes or [])]
    if getattr(comp, "multiselect", False):
        comp.elem_classes.append("multiselect")


def _announced_init(original: Any, takes_tooltip: bool) -> Any:
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        if takes_tooltip:
            self.webui_tooltip = kwargs.pop("tooltip", None)
        runner = scripts.scripts_current
        if runner is not None:
            runner.before_component(self, **kwargs)
        script_callbacks.before_component_callback(self, **kwargs)
        original(self, *args, **kwargs)
        add_classes_to_gradio_component(self)
        script_callbacks.after_component_callback(self, **kwargs)
        if runner is not None:
            runner.after_component(self, **kwargs)

    return init


def _config_with_tooltip(self: Any) -> Any:
    config = _get_config(self)
    if tooltip := getattr(self, "webui_tooltip", None):
        config["webui_tooltip"] = tooltip
    return config


def _pil_to_temp_file(self: Any, pil_image: Any, dir: Any = None, format: str = "png") -> str:
    del self
    return ui_tempdir.save_pil_to_file(pil_image, dir, format)


_get_config = gr.blocks.Block.get_config
gr.components.IOComponent.__init__ = _announced_init(gr.components.IOComponent.__init__, True)  # type: ignore[method-assign]
gr.blocks.BlockContext.__init__ = _announced_init(gr.blocks.BlockContext.__init__, False)  # type: ignore[method-assign]
gr.blocks.Block.get_config = _config_with_tooltip  # type: ignore[method-assign]
gr.components.IOComponent.pil_to_temp_file = _pil_to_temp_file  # type: ignore[method-assign]
