"""The seed."""

from __future__ import annotations

from typing import Any

import gradio as gr
from modules import scripts, ui_common
from modules.infotext_utils import PasteField
from modules.ui_components import ToolButton


class ScriptSeed(scripts.ScriptBuiltinUI):
    section = "seed"
    create_group = False

    def title(self) -> str:
        return "Seed"

    def ui(self, is_img2img: bool) -> tuple[Any, ...]:
        with gr.Row():
            seed = gr.Number(-1, label="Seed", elem_id=self.elem_id("seed"), precision=0)
            another = ToolButton(
                ui_common.random_symbol, elem_id=self.elem_id("random_seed"), tooltip="A new one each time"
            )
        another.click(fn=lambda: -1, outputs=[seed], show_progress=False)
        self.infotext_fields = [PasteField(seed, "Seed", api="seed")]
        return (seed,)

    def setup(self, p: Any, *args: Any) -> None:
        (p.seed,) = args
