"""Which checkpoint and number type the settings ask for."""

from __future__ import annotations

import torch
from backend.args import dynamic_args
from modules import sd_models, shared

need_global_unload = False
"""Set where the settings ask for another model; the next request then unloads everything."""
_STORED = {"Automatic": None, "float8-e4m3fn": torch.float8_e4m3fn, "float8-e5m2": torch.float8_e5m2}
_ONLINE = " (fp16 LoRA)"


def refresh_model_loading_parameters() -> None:
    """Takes down what the next request is to load: also what the U-Net is stored in, and whether LoRAs are added at
    each call instead of merged.
    """
    global need_global_unload
    stored = shared.opts.forge_unet_storage_dtype
    dynamic_args["online_lora"] = stored.endswith(_ONLINE)
    asked = {"checkpoint_info": sd_models.select_checkpoint()}
    asked["unet_storage_dtype"] = _STORED.get(stored.removesuffix(_ONLINE))
    sd_models.model_data.forge_loading_parameters = asked
    need_global_unload = True


def checkpoint_change(ckpt_name: str, save: bool = True, refresh: bool = True) -> bool:
    """Selects a checkpoint by any of its names; whether it is another."""
    of_name = sd_models.get_closet_checkpoint_match
    is_another = of_name(ckpt_name) != of_name(shared.opts.data.get("sd_model_checkpoint"))
    if is_another:
        shared.opts.set("sd_model_checkpoint", ckpt_name)
    if is_another and refresh:
        refresh_model_loading_parameters()
    if is_another and save:
        shared.opts.save(shared.config_filename)
    return is_another
