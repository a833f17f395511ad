"""The native Refiner's accordion. The switch itself happens in the denoiser (sd_samplers_common.apply_refiner)."""

from __future__ import annotations

from typing import Any

import gradio as gr
from modules import scripts, sd_models
from modules.infotext_utils import PasteField
from modules.ui_common import create_refresh_button
from modules.ui_components import InputAccordion


def _title_of(name: str | None) -> str | None:
    info = sd_models.get_closet_checkpoint_match(name)
    return None if info is None else info.title


class ScriptRefiner(scripts.ScriptBuiltinUI):
    section = "accordions"
    create_group = False

    def title(self) -> str:
        return "Refiner"

    def ui(self, is_img2img: bool) -> tuple[Any, ...]:
        ids = self.elem_id
        with InputAccordion(False, label="Refiner", elem_id=ids("enable")) as enable, gr.Row():
            checkpoint = gr.Dropdown(
                label="Checkpoint",
                elem_id=ids("checkpoint"),
                choices=sd_models.checkpoint_tiles(),
                value="",
                tooltip="switch to another model in the middle of generation",
            )
            create_refresh_button(
                checkpoint,
                sd_models.list_models,
                lambda: {"choices": sd_models.checkpoint_tiles()},
                ids("checkpoint_refresh"),
            )
            switch_at = gr.Slider(
                value=0.8,
                label="Switch at",
                minimum=0.01,
                maximum=1.0,
                step=0.01,
                elem_id=ids("switch_at"),
                tooltip="fraction of sampling steps when the switch to refiner model should happen",
            )
        self.infotext_fields = [
            PasteField(enable, lambda d: "Refiner" in d),
            PasteField(checkpoint, lambda d: _title_of(d.get("Refiner")), api="refiner_checkpoint"),
            PasteField(switch_at, "Refiner switch at", api="refiner_switch_at"),
        ]
        return enable, checkpoint, switch_at

    def setup(self, p: Any, *args: Any) -> None:
        enable, checkpoint, switch_at = args
        off = not enable or checkpoint in (None, "", "None")
        p.refiner_checkpoint = None if off else checkpoint
        p.refiner_switch_at = None if off else switch_at
