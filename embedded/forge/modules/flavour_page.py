"""What this host's page has beyond what both flavours have."""

from __future__ import annotations

from typing import Any

import gradio as gr

from modules.infotext_utils import PasteField

HIRES_FIELDS: tuple[str, ...] = ("hr_cfg", "hr_additional_modules")
"""Fields of a request, in the order of `hires_inputs`."""


def hires_inputs() -> list[Any]:
    from modules_forge import main_entry

    same = "Use same choices"
    return [
        gr.Slider(minimum=1.0, maximum=30.0, step=0.1, label="Hires CFG Scale", value=7.0, elem_id="txt2img_hr_cfg"),
        gr.Dropdown(
            label="Hires VAE / Text Encoder",
            elem_id="hr_vae_te",
            choices=[same, "Built-in", *main_entry.module_list],
            value=[same],
            multiselect=True,
        ),
    ]


def hires_paste_fields(inputs: list[Any]) -> list[Any]:
    return [PasteField(inputs[0], "Hires CFG Scale", api="hr_cfg")]


def top_of_page() -> tuple[str, ...]:
    """Builds what is above the tabs beside the quick settings; the settings that have their own component there."""
    from modules_forge import main_entry

    main_entry.make_checkpoint_manager_ui()
    return ("sd_model_checkpoint",)
