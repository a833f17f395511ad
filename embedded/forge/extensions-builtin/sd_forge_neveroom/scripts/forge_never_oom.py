"""Never OOM: the memory management is told that the device has no memory, for as long as requests ask for it."""

from __future__ import annotations

from typing import Any

import gradio as gr
from backend import memory_management
from modules import scripts


class NeverOOMForForge(scripts.Script):
    sorting_priority = 18

    def __init__(self) -> None:
        self.was_enabled = False
        self.original_state = memory_management.vram_state

    def title(self) -> str:
        return "Never OOM Integrated"

    def show(self, is_img2img: bool) -> object:
        return scripts.AlwaysVisible

    def ui(self, is_img2img: bool) -> tuple[Any, ...]:
        with gr.Accordion(open=False, label=self.title()):
            unet = gr.Checkbox(label="Enabled for UNet (always maximize offload)", value=False)
            vae = gr.Checkbox(label="Enabled for VAE (always tiled)", value=False)
        return unet, vae

    def process(self, p: Any, *script_args: Any) -> None:
        enabled, memory_management.VAE_ALWAYS_TILED = script_args
        if enabled == self.was_enabled:
            return
        memory_management.unload_all_models()
        if enabled:
            self.original_state = memory_management.vram_state
        memory_management.vram_state = memory_management.VRAMState.NO_VRAM if enabled else self.original_state
        self.was_enabled = enabled
