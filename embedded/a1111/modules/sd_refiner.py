"""The native Refiner's switch, asked before every call of the U-Net."""

from __future__ import annotations

from typing import Any

import torch

from modules import devices, sd_models, shared
from modules.shared import opts


def _refiner_ratio(cfg_denoiser: Any, sigma: torch.Tensor | None) -> Any:
    """How much of the sampling is done. By calls of the denoiser, or by the noise level's place among the model's
    sigmas; a timestep sampler's "sigma" is a timestep. With LCM's 50 sigmas the second says 0.95 at once.
    """
    if sigma is None or opts.refiner_switch_by_sample_steps:
        notes = cfg_denoiser.p.extra_generation_params
        notes["Refiner switch by sampling steps"] = True
        return cfg_denoiser.step / cfg_denoiser.total_steps
    highest, levels = sigma.max(), getattr(cfg_denoiser.inner_model, "sigmas", None)
    timestep = highest.to(torch.int) if levels is None else (levels.to(sigma.device) - highest).abs().argmin()
    return (999 - timestep) / 1000


def _refiner_wanted_in_this_pass(p: Any) -> bool:
    if not getattr(p, "enable_hr", False):
        return True
    wanted = opts.hires_fix_refiner_pass
    if (wanted == "first pass" and p.is_hr_pass) or (wanted == "second pass" and not p.is_hr_pass):
        return False
    if wanted != "second pass":
        p.extra_generation_params["Hires refiner"] = wanted
    return True


def apply_refiner(cfg_denoiser: Any, sigma: torch.Tensor | None = None) -> bool:
    """Loads the refiner's checkpoint in place of the base's once enough is done; True in the call that did so."""
    ratio, p = _refiner_ratio(cfg_denoiser, sigma), cfg_denoiser.p
    info = p.refiner_checkpoint_info
    if p.refiner_switch_at is not None and ratio < p.refiner_switch_at:
        return False
    if info is None or shared.sd_model.sd_checkpoint_info == info or not _refiner_wanted_in_this_pass(p):
        return False
    p.extra_generation_params["Refiner"] = info.short_title
    p.extra_generation_params["Refiner switch at"] = p.refiner_switch_at
    with sd_models.SkipWritingToConfig():
        sd_models.reload_model_weights(info=info)
    devices.torch_gc()
    p.setup_conds()
    cfg_denoiser.update_inner_model()
    return True
