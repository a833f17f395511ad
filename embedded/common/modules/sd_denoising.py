"""What both hosts' denoisers do beside calling the model."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch

from modules import extra_networks, model_handling, shared
from modules.shared import opts


def blended(denoiser: Any, latent: torch.Tensor, sigma: torch.Tensor | None = None) -> torch.Tensor:
    """Inpainting: the latent where it is painted, the original elsewhere. After sampling the request asks by itself."""
    p = getattr(denoiser, "p", denoiser)
    if denoiser.mask is None:
        return latent
    blend = latent * denoiser.nmask + denoiser.init_latent * denoiser.mask
    asking = None if p is denoiser else denoiser
    masks = {"nmask": denoiser.nmask, "init_latent": denoiser.init_latent, "mask": denoiser.mask}
    step = {"denoiser": asking, "sigma": sigma, "is_final_blend": asking is None}
    args = SimpleNamespace(current_latent=latent, blended_latent=blend, **masks, **step)
    p.tell_scripts("on_mask_blend", args)
    return args.blended_latent


def left_out_by_settings(denoiser: Any, sigma: torch.Tensor, s_min_uncond: float) -> dict[str, Any]:
    """The infotext's notes on a call that leaves the unconditional half out; none where it is computed."""
    early, every_step = opts.skip_early_cond, opts.s_min_uncond_all
    if early and denoiser.step / denoiser.total_steps <= early:
        return {"Skip Early CFG": early}
    if 0 < s_min_uncond > sigma[0] and (every_step or denoiser.step % 2):
        return {"NGMS": s_min_uncond, **({"NGMS all steps": True} if every_step else {})}
    return {}


def _runs_in_this_pass(p: Any) -> bool:
    if not getattr(p, "enable_hr", False) or opts.hires_fix_refiner_pass == "both passes":
        return True
    return p.is_hr_pass == (opts.hires_fix_refiner_pass == "second pass")


def apply_refiner(denoiser: Any, x: torch.Tensor, sigma: torch.Tensor) -> bool:
    """Loads the refiner's checkpoint in place of the base's once enough is done; True in the call that did so."""
    p = denoiser.p
    info = p.refiner_checkpoint_info
    if info is None or info == shared.sd_model.sd_checkpoint_info or not _runs_in_this_pass(p):
        return False
    if model_handling.refiner_progress(denoiser, sigma) < (p.refiner_switch_at or 0):
        return False
    p.extra_generation_params.update({"Refiner": info.short_title, "Refiner switch at": p.refiner_switch_at})
    if getattr(p, "enable_hr", False) and opts.hires_fix_refiner_pass != "second pass":
        p.extra_generation_params["Hires refiner"] = opts.hires_fix_refiner_pass
    with model_handling.exchanged_for_refiner(info, x):
        if model_handling.REFINER_FORGETS_NETWORKS and not p.disable_extra_networks:
            extra_networks.activate(p, p.extra_network_data)
        p.setup_conds()
        denoiser.update_inner_model()
    return True
