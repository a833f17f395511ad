"""What both hosts' denoisers do beside calling the model."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch

from modules import extra_networks, model_handling, prompt_parser, sd_samplers_common, shared
from modules.script_callbacks import AfterCFGCallbackParams, cfg_after_cfg_callback
from modules.shared import opts, state


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


@dataclass
class Step:
    """One call of a denoiser: what it was given, and the conditioning that holds now.

    Attributes:
        parts: of each picture's prompts, (row of `text`, weight).
        place: last finished step, steps.
    """

    x: torch.Tensor
    sigma: torch.Tensor
    cond_scale: float
    s_min_uncond: float
    image_cond: torch.Tensor
    parts: list[list[tuple[int, float]]]
    text: Any
    negative: Any
    place: tuple[int, int]


class Guided(torch.nn.Module):
    """Around `inner_model`. `step` counts calls, not steps, and is what prompt editing goes by."""

    mask_before_denoising = padded_cond_uncond = need_last_noise_uncond = False
    image_cfg_scale: float | None = None
    p: Any = None
    mask: Any = None
    nmask: Any = None
    init_latent: Any = None

    def __init__(self, sampler: Any) -> None:
        super().__init__()
        self.sampler, self.model_wrap = sampler, None
        self.steps: int | None = None
        self.total_steps = self.step = 0

    @property
    def inner_model(self) -> Any:
        raise NotImplementedError

    def get_pred_x0(self, x_in: torch.Tensor, x_out: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        del x_in, sigma
        return x_out

    def update_inner_model(self) -> None:
        """After another checkpoint was loaded: a new inner model and newly computed conditioning."""
        self.model_wrap = None
        self.sampler.sampler_extra_args.update(zip(("cond", "uncond"), self.p.get_conds(), strict=True))

    def guided(self, step: Step) -> torch.Tensor:
        raise NotImplementedError

    def forward(
        self,
        x: torch.Tensor,
        sigma: torch.Tensor,
        uncond: Any,
        cond: Any,
        cond_scale: float,
        s_min_uncond: float,
        image_cond: torch.Tensor,
    ) -> torch.Tensor:
        """The guided prediction for x [B, C, h, w] at noise levels sigma [B]: x0, or for timestep samplers eps at
        timesteps sigma.
        """
        if state.interrupted or state.skipped:
            raise sd_samplers_common.InterruptedException
        if apply_refiner(self, x, sigma):
            cond, uncond = (self.sampler.sampler_extra_args[name] for name in ("cond", "uncond"))
        parts, text = prompt_parser.reconstruct_multicond_batch(cond, self.step)
        negative = None if uncond is None else prompt_parser.reconstruct_cond_batch(uncond, self.step)
        place = (state.sampling_step, state.sampling_steps)
        result = self.guided(Step(x, sigma, cond_scale, s_min_uncond, image_cond, parts, text, negative, place))
        after = AfterCFGCallbackParams(result, *place)
        cfg_after_cfg_callback(after)
        self.step += 1
        return after.x
