"""Samplers that count in timesteps: what their denoiser receives as `sigma` is a timestep, and what it returns is
eps.
"""

from __future__ import annotations

import inspect
import sys
from typing import Any

import torch

from modules import devices, sd_samplers_common, sd_samplers_timesteps_impl, shared
from modules.sd_timestep_denoisers import CFGDenoiserTimesteps, CompVisTimestepsDenoiser

samplers_timesteps: list[tuple[str, Any, list[str], dict[str, Any]]] = [
    ("DDIM", sd_samplers_timesteps_impl.ddim, ["ddim"], {}),
    ("DDIM CFG++", sd_samplers_timesteps_impl.ddim_cfgpp, ["ddim_cfgpp"], {}),
    ("PLMS", sd_samplers_timesteps_impl.plms, ["plms"], {}),
    ("UniPC", sd_samplers_timesteps_impl.unipc, ["unipc"], {}),
]


def _constructor(function: Any) -> Any:
    return lambda model: CompVisSampler(function, model)


samplers_data_timesteps = [
    sd_samplers_common.SamplerData(label, _constructor(function), aliases, options)
    for label, function, aliases, options in samplers_timesteps
]


class CompVisSampler(sd_samplers_common.Sampler):
    eta_option_field, eta_infotext_field = "eta_ddim", "Eta DDIM"
    eta_default = 0.0

    def __init__(self, funcname: Any, sd_model: Any) -> None:
        del sd_model
        super().__init__(funcname)
        denoiser = CFGDenoiserTimesteps(self)
        self.model_wrap_cfg, self.model_wrap = denoiser, denoiser.inner_model

    def get_timesteps(self, p: Any, steps: int) -> torch.Tensor:
        """Every (1000 // steps)-th timestep plus one, rising: often more than `steps` of them."""
        count = steps + 1 if self._discards_second_last(p.extra_generation_params) else steps
        rising = torch.arange(0, 1000, 1000 // count, device=devices.device)
        return torch.clip(rising + 1, 0, 999)

    def sample_img2img(
        self,
        p: Any,
        x: torch.Tensor,
        noise: torch.Tensor,
        conditioning: Any,
        unconditional_conditioning: Any,
        steps: int | None = None,
        image_conditioning: Any = None,
    ) -> Any:
        total, run = sd_samplers_common.setup_img2img_steps(p, steps)
        timesteps = self.get_timesteps(p, total)
        alpha = shared.sd_model.alphas_cumprod[timesteps[run]]
        level = torch.sqrt(alpha)
        start = self._with_extra_noise(p, noise, x, x * level + noise * torch.sqrt(1 - alpha), level)
        arguments = self.initialize(p)
        offered = {"timesteps": timesteps[:run], "is_img2img": True}
        known = inspect.signature(self.func).parameters
        arguments.update({k: v for k, v in offered.items() if k in known})
        self.model_wrap_cfg.init_latent = x
        self.last_latent = x
        self.sampler_extra_args = self._extra_args(p, conditioning, unconditional_conditioning, image_conditioning)
        return self._run(p, run + 1, start, arguments)

    def sample(
        self,
        p: Any,
        x: torch.Tensor,
        conditioning: Any,
        unconditional_conditioning: Any,
        steps: int | None = None,
        image_conditioning: Any = None,
    ) -> Any:
        steps = steps or p.steps
        arguments = self.initialize(p)
        if "timesteps" in inspect.signature(self.func).parameters:
            arguments["timesteps"] = self.get_timesteps(p, steps)
        self.last_latent = x
        self.sampler_extra_args = self._extra_args(p, conditioning, unconditional_conditioning, image_conditioning)
        return self._run(p, steps, x, arguments)


sys.modules["modules.sd_samplers_compvis"] = sys.modules[__name__]
VanillaStableDiffusionSampler = CompVisSampler

__all__ = ["CFGDenoiserTimesteps", "CompVisSampler", "CompVisTimestepsDenoiser"]
