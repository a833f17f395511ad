"""The LCM sampler (Luo et al. 2023, "Latent consistency models"). Its model has 50 noise levels, timesteps 19, 39, ...,
999.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from k_diffusion import sampling, utils
from k_diffusion.external import DiscreteEpsDDPMDenoiser
from k_diffusion.sampling import default_noise_sampler, trange

from modules import sd_denoisers, sd_samplers_cfg_denoiser, sd_samplers_kdiffusion, shared

_TRAINED_STEPS, _LEVELS = 1000, 50
_SIGMA_DATA, _TIMESTEP_SCALING = 0.5, 10.0


class LCMCompVisDenoiser(DiscreteEpsDDPMDenoiser):
    """Any sigma is snapped to the nearest of the 50; the prediction passes through the consistency model's boundary
    condition.
    """

    def __init__(self, model: Any) -> None:
        self.skip_steps = _TRAINED_STEPS // _LEVELS
        self._first = self.skip_steps - 1
        alphas = sd_denoisers.alphas_cumprod(model)
        kept = alphas[self._first : _TRAINED_STEPS : self.skip_steps]
        super().__init__(model, kept.to(torch.float32).clone(), quantize=None)

    def get_sigmas(self, n: int | None = None) -> torch.Tensor:
        if n is None:
            descending = self.sigmas.flip(0)
        else:
            ends = self.sigma_to_t(self.sigma_max), self.sigma_to_t(self.sigma_min)
            descending = self.t_to_sigma(torch.linspace(*ends, n, device=self.sigmas.device))
        return sampling.append_zero(descending)

    def sigma_to_t(self, sigma: torch.Tensor, quantize: bool | None = None) -> torch.Tensor:
        del quantize
        distances = (sigma.log() - self.log_sigmas[:, None]).abs()
        level = distances.argmin(dim=0).view(sigma.shape)
        return self._first + self.skip_steps * level

    def t_to_sigma(self, timestep: torch.Tensor) -> torch.Tensor:
        level = ((timestep - self._first) / self.skip_steps).float()
        return super().t_to_sigma(level.clamp(0, len(self.sigmas) - 1))

    def get_eps(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        network: Any = self.inner_model
        return network.apply_model(*args, **kwargs)

    def get_scaled_out(self, sigma: torch.Tensor, output: torch.Tensor, input: torch.Tensor) -> torch.Tensor:
        """c_skip * input + c_out * output, the boundary condition of consistency models (Song et al. 2023)."""
        time = utils.append_dims(self.sigma_to_t(sigma), output.ndim) * _TIMESTEP_SCALING
        norm = time**2 + _SIGMA_DATA**2
        return time / norm**0.5 * output + _SIGMA_DATA**2 / norm * input

    def forward(self, input: torch.Tensor, sigma: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        c_out, c_in = (utils.append_dims(scaling, input.ndim) for scaling in self.get_scalings(sigma))
        timestep = self.sigma_to_t(sigma)
        x0 = input + self.get_eps(input * c_in, timestep, **kwargs) * c_out
        return self.get_scaled_out(sigma, x0, input)


def sample_lcm(
    model: Callable[..., torch.Tensor],
    x: torch.Tensor,
    sigmas: torch.Tensor,
    extra_args: dict[str, Any] | None = None,
    callback: Callable[[dict[str, Any]], Any] | None = None,
    disable: bool | None = None,
    noise_sampler: Any = None,
) -> torch.Tensor:
    """Each step predicts x0 and adds fresh noise of the next level."""
    fresh_noise = noise_sampler or default_noise_sampler(x)
    levels = list(sigmas)
    for i in trange(len(levels) - 1, disable=disable):
        now, following = levels[i : i + 2]
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


samplers_lcm: list[tuple[str, Any, list[str], dict[str, Any]]] = [("LCM", sample_lcm, ["k_lcm"], {})]
samplers_data_lcm = sd_samplers_kdiffusion.offered_samplers(LCMSampler, samplers_lcm)
