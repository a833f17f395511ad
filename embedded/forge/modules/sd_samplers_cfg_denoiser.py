"""The denoisers that samplers call: they choose the conditioning of the step and hand it to the patcher's U-Net."""

from __future__ import annotations

from typing import Any

import torch
from backend.sampling.sampling_function import sampling_function

from modules import prompt_parser, sd_denoisers, sd_samplers_common, shared
from modules.script_callbacks import (
    AfterCFGCallbackParams,
    CFGDenoiserParams,
    cfg_after_cfg_callback,
    cfg_denoiser_callback,
)
from modules.sd_denoising import apply_refiner, blended, left_out_by_settings
from modules.shared import state


class CFGDenoiser(torch.nn.Module):
    """Classifier-free guidance. `step` counts calls, not steps. `on_cfg_denoised` is never called."""

    def __init__(self, sampler: Any) -> None:
        super().__init__()
        self.sampler = sampler
        self.model_wrap: Any = None
        self.p: Any = None
        self.mask: Any = None
        self.nmask: Any = None
        self.init_latent: Any = None
        self.steps: int | None = None
        self.total_steps = self.step = 0
        self.image_cfg_scale: float | None = None
        self.padded_cond_uncond = self.need_last_noise_uncond = False
        self.mask_before_denoising = self.classic_ddim_eps_estimation = False

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

    def _as_levels(self, x: torch.Tensor, timesteps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Timestep samplers' latents and timesteps in the scale of noise levels."""
        power = self.inner_model.inner_model.alphas_cumprod
        place = timesteps.round().long().clip(0, len(power))
        sigma = (((1 - power) / power) ** 0.5)[place]
        return x * (sigma**2.0 + 1.0)[:, None, None, None] ** 0.5, sigma

    def _with_noised_original(self, x: torch.Tensor, level: torch.Tensor) -> torch.Tensor:
        """Inpainting: the original outside the mask, noised to this level with noise of its own."""
        predictor = self.inner_model.inner_model.forge_objects.unet.model.predictor
        noise = torch.randn_like(self.init_latent).to(self.init_latent)
        return x * self.nmask + predictor.noise_scaling(level, noise, self.init_latent) * self.mask

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
        given = x
        if self.classic_ddim_eps_estimation:
            x, sigma = self._as_levels(x, sigma)
        if apply_refiner(self, x, sigma):
            cond, uncond = (self.sampler.sampler_extra_args[name] for name in ("cond", "uncond"))
        level = sigma[:, None, None, None]
        if self.mask is not None:
            x = self._with_noised_original(x, level)
        parts, text = prompt_parser.reconstruct_multicond_batch(cond, self.step)
        negative = None if uncond is None else prompt_parser.reconstruct_cond_batch(uncond, self.step)
        place = (state.sampling_step, state.sampling_steps)
        asked = CFGDenoiserParams(x, image_cond, sigma, *place, text, negative, self)
        cfg_denoiser_callback(asked)
        scale = self.p.hr_cfg if self.p.is_hr_pass else cond_scale
        if left_out := left_out_by_settings(self, sigma, s_min_uncond):
            self.p.extra_generation_params.update(left_out)
            scale = 1.0
        denoised, _, _ = sampling_function(self, asked, cond_scale=scale, cond_composition=parts)
        denoised = self.sampler.last_latent = blended(self, denoised, sigma)
        sd_samplers_common.store_latent(denoised)
        after = AfterCFGCallbackParams(denoised, *place)
        cfg_after_cfg_callback(after)
        self.step += 1
        return (x - after.x) / level if self.classic_ddim_eps_estimation else after.x.to(given)


class CompVisTimestepsDenoiser(torch.nn.Module):
    """Leaves the schedule on the engine, where the samplers look for it."""

    def __init__(self, model: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.inner_model = model
        model.alphas_cumprod = sd_denoisers.alphas_cumprod(model)


class CFGDenoiserTimesteps(CFGDenoiser):
    def __init__(self, sampler: Any) -> None:
        super().__init__(sampler)
        self.classic_ddim_eps_estimation = True

    @property
    def inner_model(self) -> Any:
        if self.model_wrap is None:
            self.model_wrap = CompVisTimestepsDenoiser(shared.sd_model)
        return self.model_wrap
