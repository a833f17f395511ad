"""The denoisers that samplers call: they choose the conditioning of the step and hand it to the patcher's U-Net."""

from __future__ import annotations

from typing import Any

import torch
from backend.sampling.sampling_function import sampling_function

from modules import sd_denoisers, sd_samplers_common, shared
from modules.script_callbacks import CFGDenoiserParams, cfg_denoiser_callback
from modules.sd_denoising import Guided, Step, blended, left_out_by_settings


class CFGDenoiser(Guided):
    """Classifier-free guidance. `on_cfg_denoised` is never called."""

    classic_ddim_eps_estimation = False
    seen: torch.Tensor
    """The latents that the U-Net saw last."""

    def guided(self, step: Step) -> torch.Tensor:
        """x0 at noise levels. Outside the mask the U-Net sees the original, noised to this level with its own noise."""
        x = step.x
        if self.mask is not None:
            noised = self.init_latent + torch.randn_like(self.init_latent) * step.sigma[:, None, None, None]
            x = x * self.nmask + noised * self.mask
        self.seen = x
        asked = CFGDenoiserParams(x, step.image_cond, step.sigma, *step.place, step.text, step.negative, self)
        cfg_denoiser_callback(asked)
        scale = self.p.hr_cfg if self.p.is_hr_pass else step.cond_scale
        if left_out := left_out_by_settings(self, step.sigma, step.s_min_uncond):
            self.p.extra_generation_params.update(left_out)
            scale = 1.0
        denoised, _, _ = sampling_function(self, asked, cond_scale=scale, cond_composition=step.parts)
        self.sampler.last_latent = blended(self, denoised, step.sigma)
        sd_samplers_common.store_latent(self.sampler.last_latent)
        return self.sampler.last_latent


class CompVisTimestepsDenoiser(torch.nn.Module):
    """Leaves the schedule on the engine, where the samplers look for it."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.inner_model = model
        model.alphas_cumprod = sd_denoisers.alphas_cumprod(model)


class CFGDenoiserTimesteps(CFGDenoiser):
    """For latents and timesteps in the scale of those samplers: eps."""

    classic_ddim_eps_estimation = True

    @property
    def inner_model(self) -> Any:
        if self.model_wrap is None:
            self.model_wrap = CompVisTimestepsDenoiser(shared.sd_model)
        return self.model_wrap

    def forward(self, x: torch.Tensor, sigma: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        power = self.inner_model.inner_model.alphas_cumprod
        levels = (((1 - power) / power) ** 0.5)[sigma.round().long().clip(0, len(power))]
        column = levels[:, None, None, None]
        denoised = super().forward(x * (column**2.0 + 1.0) ** 0.5, levels, *args, **kwargs)
        return (self.seen - denoised) / column
