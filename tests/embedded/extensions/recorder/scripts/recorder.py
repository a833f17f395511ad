"""Records each hook of a request, and lets a test act inside it."""

from __future__ import annotations

from typing import Any

import gradio as gr
import recorder_library as library
from modules import script_callbacks, scripts
from modules.ui_components import InputAccordion
from recorder_library import ImportedBase

library.executions.append(scripts.basedir())


class Recorder(ImportedBase):
    def title(self) -> str:
        return "Recorder"

    def show(self, is_img2img: bool) -> Any:
        return scripts.AlwaysVisible

    def ui(self, is_img2img: bool) -> list[Any]:
        library.uis.append(is_img2img)
        with InputAccordion(False, label="Recorder", elem_id=self.elem_id("enabled")) as enabled:
            number = gr.Number(value=7, label="Number")
        return [enabled, number]


class Selectable(scripts.Script):
    def title(self) -> str:
        return "Selectable"

    def ui(self, is_img2img: bool) -> list[Any]:
        return [gr.Textbox(value="default", label="Text")]

    def run(self, p: Any, text: str) -> Any:
        from modules import processing

        library.record("run", p, text)
        return processing.process_images(p)


def _hook(name: str) -> Any:
    def hook(self: Any, p: Any, *args: Any, **kwargs: Any) -> None:
        library.record(name, p, *args, kwargs)

    return hook


for _name in scripts.Script.HOOKS if hasattr(scripts.Script, "HOOKS") else ():
    setattr(Recorder, _name, _hook(_name))

script_callbacks.on_cfg_denoiser(lambda params: library.record("cfg_denoiser", params))
script_callbacks.on_cfg_denoised(lambda params: library.record("cfg_denoised", params))
script_callbacks.on_cfg_after_cfg(lambda params: library.record("cfg_after_cfg", params))
script_callbacks.on_model_loaded(lambda model: library.record("model_loaded", model))
script_callbacks.on_infotext_pasted(lambda text, params: library.record("infotext_pasted", text, params))
