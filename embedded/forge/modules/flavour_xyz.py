"""Where this host's X/Y/Z plot differs from the other's: its axes, and how it changes checkpoints."""

from __future__ import annotations

from typing import Any

from modules.sd_models import model_data, select_checkpoint
from modules.shared import opts

GUIDANCE_FIELDS: tuple[tuple[str, str], ...] = (("Distilled CFG Scale", "distilled_cfg_scale"),)
"""Numbers that are axes behind the CFG scale: label and field of the request."""


def choose_checkpoint(p: Any, info: Any) -> None:
    """For one cell. Requests load what `forge_loading_parameters` say, whatever their own settings say."""
    if p.override_settings.get("sd_model_checkpoint") == info.name:
        return
    selected = opts.sd_model_checkpoint
    p.override_settings["sd_model_checkpoint"] = info.name
    opts.set("sd_model_checkpoint", info.name)
    restore_models()
    opts.set("sd_model_checkpoint", selected)


def restore_models() -> None:
    """Asks for the checkpoint that the settings name; also when the plot ends, whatever ended it."""
    model_data.forge_loading_parameters = {
        "checkpoint_info": select_checkpoint(),
        "additional_modules": opts.forge_additional_modules,
        "unet_storage_dtype": model_data.forge_loading_parameters.get("unet_storage_dtype"),
    }
