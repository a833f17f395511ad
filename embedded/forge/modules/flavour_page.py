"""What this host's page has otherwise than the other's."""

from __future__ import annotations

from typing import Any

import gradio as gr
from modules_forge import main_entry

from modules import sd_models, shared, ui_common


def hires_components() -> list[tuple[str, Any, Any]]:
    """(field of the request, component, what a paste reads its value by) beyond those of both."""
    same = "Use same choices"
    cfg = gr.Slider(1.0, 30.0, value=7.0, step=0.1, label="Hires CFG Scale", elem_id="txt2img_hr_cfg")
    parts = gr.Dropdown([same], value=[same], label="Hires VAE / Text Encoder", multiselect=True, elem_id="hr_vae_te")
    return [("hr_cfg", cfg, "Hires CFG Scale"), ("hr_additional_modules", parts, None)]


def top_of_page() -> None:
    """The list of checkpoints; what it chooses is loaded by the next request, and it tells no other component."""
    from modules import ui

    def choices() -> dict[str, Any]:
        return {"choices": sd_models.checkpoint_tiles()}

    selected = {"value": lambda: shared.opts.sd_model_checkpoint, "elem_classes": ["model_selection"]}
    listed = gr.Dropdown(label="Checkpoint", **choices(), **selected)
    listed.change(fn=main_entry.checkpoint_change, inputs=[listed], outputs=[], show_progress=False)
    ui_common.create_refresh_button(listed, sd_models.list_models, choices, "forge_refresh_checkpoint")
    ui.settings_box()
