"""The native Refiner's switch, asked before every call of the U-Net. It drops the model that is loaded and builds the
other one whole; what was patched on the first one's U-Net is lost.
"""

from __future__ import annotations

from typing import Any

import torch
from backend.sampling.sampling_function import sampling_cleanup, sampling_prepare

from modules import extra_networks, sd_models, shared
from modules.shared import opts


def _wanted_in_this_pass(p: Any) -> bool:
    if not getattr(p, "enable_hr", False):
        return True
    wanted = opts.hires_fix_refiner_pass
    if wanted == ("first pass" if p.is_hr_pass else "second pass"):
        return False
    if wanted != "second pass":
        p.extra_generation_params["Hires refiner"] = wanted
    return True


def _load(info: Any) -> None:
    """The selected checkpoint is another for the length of this alone."""
    from modules_forge import main_entry

    selected = opts.sd_model_checkpoint
    if not main_entry.checkpoint_change(info.short_title, save=False, refresh=False):
        return
    try:
        main_entry.refresh_model_loading_parameters()
        sd_models.forge_model_reload()
    finally:
        main_entry.checkpoint_change(selected, save=False, refresh=True)


def _unet() -> Any:
    return sd_models.model_data.get_sd_model().forge_objects.unet


def apply_refiner(cfg_denoiser: Any, x: torch.Tensor) -> bool:
    """Loads the refiner's checkpoint once enough calls of those expected are made; True in the call that did so."""
    p = cfg_denoiser.p
    info, done = p.refiner_checkpoint_info, cfg_denoiser.step / cfg_denoiser.total_steps
    if p.refiner_switch_at is not None and done < p.refiner_switch_at:
        return False
    if info is None or shared.sd_model.sd_checkpoint_info == info or not _wanted_in_this_pass(p):
        return False
    p.extra_generation_params["Refiner"] = info.short_title
    p.extra_generation_params["Refiner switch at"] = p.refiner_switch_at
    sampling_cleanup(_unet())
    with sd_models.SkipWritingToConfig():
        _load(info)
    if not p.disable_extra_networks:
        extra_networks.activate(p, p.extra_network_data)
    p.setup_conds()
    cfg_denoiser.update_inner_model()
    sampling_prepare(_unet(), x=x)
    return True
