"""The LCM sampler (Luo et al. 2023). Its model has 50 noise levels, timesteps 19, 39, ..., 999."""

from __future__ import annotations

from typing import Any

import torch
from k_diffusion import utils
from k_diffusion.external import DiscreteEpsDDPMDenoiser
from k_diffusion.sampling import append_zero, default_noise_sampler
from torch import Tensor

from modules import sd_denoisers, sd_samplers_cfg_denoiser, sd_samplers_common, sd_samplers_kdiffusion, shared

_STRIDE, _FIRST = 20, 19
_SIGMA_DATA, _TIMESTEP_SCALING = 0.5, 10.0


class LCMCompVisDenoiser(DiscreteEpsDDPMDenoiser):
    """Any sigma is snapped to the nearest of the 50; with the consistency model's boundary condition."""

    def __init__(self, model: Any) -> None:
        levels = sd_denoisers.alphas_cumprod(model)[_FIRST::_STRIDE]
        super().__init__(model, levels.float().clone(), quantize=None)

    def get_sigmas(self, n: int | None = None) -> Tensor:
        if n is None:
            return append_zero(self.sigmas.flip(0))
        last = _FIRST + _STRIDE * (len(self.sigmas) - 1)
        return append_zero(self.t_to_sigma(torch.linspace(last, _FIRST, n, device=self.sigmas.device)))

    def sigma_to_t(self, sigma: Tensor, quantize: bool | None = None) -> Tensor:
        del quantize
        nearest = (self.log_sigmas[:, None] - sigma.reshape(-1).log()).abs().argmin(dim=0)
        return (nearest * _STRIDE + _FIRST).view(sigma.shape)

    def t_to_sigma(self, timestep: Tensor) -> Tensor:
        place = (timestep - _FIRST) / _STRIDE
        return super().t_to_sigma(torch.clamp(place.float(), 0, len(self.sigmas) - 1))

    def get_eps(self, *args: Any, **kwargs: Any) -> Tensor:
        return self.inner_model.apply_model(*args, **kwargs)

    def forward(self, input: Tensor, sigma: Tensor, **kwargs: Any) -> Tensor:
        c_out, c_in = (utils.append_dims(factor, input.ndim) for factor in self.get_scalings(sigma))
        timestep = self.sigma_to_t(sigma)
        x0 = input + self.get_eps(input * c_in, timestep, **kwargs) * c_out
        time = utils.append_dims(timestep, input.ndim) * _TIMESTEP_SCALING
        norm = time**2 + _SIGMA_DATA**2
        return time / norm**0.5 * x0 + _SIGMA_DATA**2 / norm * input


def sample_lcm(model, x, sigmas, extra_args=None, callback=None, disable=None, noise_sampler=None) -> Tensor:
    """Each step predicts x0 and adds fresh noise of the next level."""
    fresh_noise = noise_sampler or default_noise_sampler(x)
    for i, (now, following) in enumerate(zip(sigmas, sigmas[1:])):
        x0 = model(x, now.expand(len(x)).to(x), **(extra_args or {}))
        if callback is not None:
            callback({"x": x, "i": i, "sigma": now, "sigma_hat": now, "denoised": x0})
        # in place: what the denoiser noted as its last latent, the result after an interrupt, gets the noise too
        x = x0.add_(following * fresh_noise(now, following)) if following > 0 else x0
    return x


class CFGDenoiserLCM(sd_samplers_cfg_denoiser.CFGDenoiser):
    @property
    def inner_model(self) -> Any:
        if self.model_wrap is None:
            self.model_wrap = LCMCompVisDenoiser(shared.sd_model)
        return self.model_wrap


class LCMSampler(sd_samplers_kdiffusion.KDiffusionSampler):
    denoiser_class = CFGDenoiserLCM


samplers_data_lcm = sd_samplers_common.offered(LCMSampler, {"LCM": (sample_lcm, "k_lcm", {})})
