"""What this host's page has otherwise than the other's."""

from __future__ import annotations

from typing import Any

import gradio as gr


def hires_components() -> list[tuple[str, Any, Any]]:
    """(field of the request, component, what a paste reads its value by) beyond those of both."""
    from modules_forge import main_entry

    same = "Use same choices"
    choices = [same, "Built-in", *main_entry.module_list]
    cfg = gr.Slider(1.0, 30.0, value=7.0, step=0.1, label="Hires CFG Scale", elem_id="txt2img_hr_cfg")
    parts = gr.Dropdown(choices, value=[same], label="Hires VAE / Text Encoder", multiselect=True, elem_id="hr_vae_te")
    return [("hr_cfg", cfg, "Hires CFG Scale"), ("hr_additional_modules", parts, None)]


def top_of_page() -> None:
    """Builds what is above the tabs. The list of checkpoints tells no other component what it has changed."""
    from modules_forge import main_entry

    from modules import ui

    main_entry.make_checkpoint_manager_ui()
    ui.settings_box()
