"""The denoiser that samplers call: chooses the conditioning of the step and hands it to the patcher's U-Net."""

from __future__ import annotations

from typing import Any

import torch
from backend.sampling.sampling_function import sampling_function

from modules import prompt_parser, sd_samplers_common, shared
from modules.script_callbacks import (
    AfterCFGCallbackParams,
    CFGDenoiserParams,
    cfg_after_cfg_callback,
    cfg_denoiser_callback,
)
from modules.shared import opts, state


def _as_column(sigma: torch.Tensor) -> torch.Tensor:
    return sigma[:, None, None, None]


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
        self.total_steps: int = 0
        self.step = 0
        self.image_cfg_scale: float | None = None
        self.padded_cond_uncond = self.padded_cond_uncond_v0 = False
        self.need_last_noise_uncond = False
        self.last_noise_uncond: Any = None
        self.mask_before_denoising = False
        self.classic_ddim_eps_estimation = False

    @property
    def inner_model(self) -> Any:
        raise NotImplementedError

    def get_pred_x0(self, x_in: torch.Tensor, x_out: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        del x_in, sigma
        return x_out

    def update_inner_model(self) -> None:
        """After another checkpoint was loaded: a new inner model and newly computed conditioning."""
        self.model_wrap = None
        cond, uncond = self.p.get_conds()
        self.sampler.sampler_extra_args.update(cond=cond, uncond=uncond)

    def _from_timesteps(self, x: torch.Tensor, timesteps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Timestep samplers' latents and timesteps in the scale of noise levels."""
        signal = self.inner_model.inner_model.alphas_cumprod
        levels = ((1 - signal) / signal) ** 0.5
        sigma = levels[timesteps.round().long().clip(0, int(levels.shape[0]))]
        return x * _as_column((sigma**2.0 + 1.0) ** 0.5), sigma

    def _with_original(self, x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        """Inpainting: the original outside the mask, noised to this level with noise of its own."""
        predictor = self.inner_model.inner_model.forge_objects.unet.model.predictor
        noise = torch.randn_like(self.init_latent).to(self.init_latent)
        original = predictor.noise_scaling(_as_column(sigma), noise, self.init_latent, max_denoise=False)
        return x * self.nmask + original * self.mask

    def _blend(self, denoised: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        blend = denoised * self.nmask + self.init_latent * self.mask
        if self.p.scripts is None:
            return blend
        from modules import scripts

        tensors = (denoised, self.nmask, self.init_latent, self.mask, blend)
        args = scripts.MaskBlendArgs(*tensors, denoiser=self, sigma=sigma)
        self.p.scripts.on_mask_blend(self.p, args)
        return args.blended_latent

    def _guidance(self, cond_scale: float, sigma: torch.Tensor, s_min_uncond: float) -> float:
        """The CFG of this call: the hires pass's own, and 1 where settings leave the negative prompt out."""
        notes = self.p.extra_generation_params
        early = shared.opts.skip_early_cond
        if early > 0 and self.step / self.total_steps <= early:
            notes["Skip Early CFG"] = early
            return 1.0
        if (self.step % 2 or opts.s_min_uncond_all) and s_min_uncond > 0 and sigma[0] < s_min_uncond:
            notes["NGMS"] = s_min_uncond
            if opts.s_min_uncond_all:
                notes["NGMS all steps"] = opts.s_min_uncond_all
            return 1.0
        return self.p.hr_cfg if self.p.is_hr_pass else cond_scale

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
        device, dtype = x.device, x.dtype
        if self.classic_ddim_eps_estimation:
            x, sigma = self._from_timesteps(x, sigma)
        if sd_samplers_common.apply_refiner(self, x):
            renewed = self.sampler.sampler_extra_args
            cond, uncond = renewed["cond"], renewed["uncond"]
        composition, text = prompt_parser.reconstruct_multicond_batch(cond, self.step)
        negative = None if uncond is None else prompt_parser.reconstruct_cond_batch(uncond, self.step)
        if self.mask is not None:
            x = self._with_original(x, sigma)
        place = (state.sampling_step, state.sampling_steps)
        params = CFGDenoiserParams(x, image_cond, sigma, *place, text, negative, self)
        cfg_denoiser_callback(params)
        scale = self._guidance(cond_scale, sigma, s_min_uncond)
        denoised, _, by_negative = sampling_function(self, params, cond_scale=scale, cond_composition=composition)
        if self.need_last_noise_uncond:
            self.last_noise_uncond = (x - by_negative) / _as_column(sigma)
        if self.mask is not None:
            denoised = self._blend(denoised, sigma)
        self.sampler.last_latent = denoised
        sd_samplers_common.store_latent(denoised)
        after = AfterCFGCallbackParams(denoised, *place)
        cfg_after_cfg_callback(after)
        self.step += 1
        if self.classic_ddim_eps_estimation:
            return (x - after.x) / _as_column(sigma)
        return after.x.to(device=device, dtype=dtype)
