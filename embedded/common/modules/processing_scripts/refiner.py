"""The native Refiner's accordion. The switch itself happens in the denoiser (sd_denoising)."""

from __future__ import annotations

from typing import Any

import gradio as gr
from modules import scripts, sd_models
from modules.infotext_utils import PasteField
from modules.ui_components import InputAccordion


def _title(named: dict[str, Any]) -> str | None:
    return getattr(sd_models.get_closet_checkpoint_match(named.get("Refiner")), "title", None)


class ScriptRefiner(scripts.ScriptBuiltinUI):
    section = "accordions"
    create_group = False

    def title(self) -> str:
        return "Refiner"

    def ui(self, is_img2img: bool) -> tuple[Any, ...]:
        choices = sd_models.checkpoint_tiles()
        with InputAccordion(False, label="Refiner", elem_id=self.elem_id("enable")) as enable:
            checkpoint = gr.Dropdown(choices, value="", label="Checkpoint", elem_id=self.elem_id("checkpoint"))
            switch_at = gr.Slider(0.01, 1.0, 0.8, step=0.01, label="Switch at", elem_id=self.elem_id("switch_at"))
        self.infotext_fields = [
            PasteField(switch_at, "Refiner switch at", api="refiner_switch_at"),
            PasteField(checkpoint, _title, api="refiner_checkpoint"),
            PasteField(enable, lambda pasted: "Refiner" in pasted),
        ]
        return enable, checkpoint, switch_at

    def setup(self, p: Any, *args: Any) -> None:
        enable, checkpoint, switch_at = args
        if enable and checkpoint not in (None, "", "None"):
            p.refiner_checkpoint, p.refiner_switch_at = checkpoint, switch_at
        else:
            p.refiner_checkpoint = p.refiner_switch_at = None
