"""Noise levels, and what a network's prediction says about the picture at them."""

from __future__ import annotations

from typing import Any

import torch

_LOWEST_SIGNAL = 4.8973451890853435e-08


def rescale_zero_terminal_snr_sigmas(sigmas: torch.Tensor) -> torch.Tensor:
    """Levels moved so that the last one holds no signal (Lin et al. 2023)."""
    root = (1 / (sigmas * sigmas + 1)).sqrt()
    power = ((root - root[-1]) * (root[0] / (root[0] - root[-1]))) ** 2
    power[-1] = _LOWEST_SIGNAL
    return ((1 - power) / power) ** 0.5


def _like(sigma: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    return sigma.reshape(-1, *[1] * (x.ndim - 1))


class Prediction(torch.nn.Module):
    """Stable Diffusion's discrete levels, from betas whose roots are evenly spaced: `sigmas` [T] rise.

    `prediction_type`: "epsilon" or "v_prediction".
    """

    sigmas: torch.Tensor
    log_sigmas: torch.Tensor

    def __init__(
        self,
        sigma_data: float = 1.0,
        prediction_type: str = "epsilon",
        beta_schedule: str = "linear",
        linear_start: float = 0.00085,
        linear_end: float = 0.012,
        timesteps: int = 1000,
    ) -> None:
        del sigma_data, beta_schedule
        super().__init__()
        self.prediction_type = prediction_type
        betas = torch.linspace(linear_start**0.5, linear_end**0.5, timesteps, dtype=torch.float64) ** 2
        power = torch.cumprod(1.0 - betas, dim=0)
        self.register_buffer("alphas_cumprod", power.float())
        self.set_sigmas(((1 - power) / power) ** 0.5)

    sigma_min = property(lambda self: self.sigmas[0])
    sigma_max = property(lambda self: self.sigmas[-1])

    def set_sigmas(self, sigmas: torch.Tensor) -> None:
        for name, levels in {"sigmas": sigmas, "log_sigmas": sigmas.log()}.items():
            self.register_buffer(name, levels.float())

    def calculate_input(self, sigma: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        return noise / (_like(sigma, noise) ** 2 + 1.0) ** 0.5

    def calculate_denoised(
        self, sigma: torch.Tensor, model_output: torch.Tensor, model_input: torch.Tensor
    ) -> torch.Tensor:
        level = _like(sigma, model_output)
        if self.prediction_type == "epsilon":
            return model_input - model_output * level
        power = level**2 + 1.0
        return model_input / power - model_output * level / power**0.5

    def noise_scaling(
        self, sigma: torch.Tensor, noise: torch.Tensor, latent_image: torch.Tensor, max_denoise: bool = False
    ) -> torch.Tensor:
        level = torch.sqrt(sigma**2.0 + 1.0) if max_denoise else sigma
        return noise * level + latent_image

    def timestep(self, sigma: torch.Tensor) -> torch.Tensor:
        """The nearest level's number, in the shape of `sigma`."""
        asked = sigma.reshape(-1, 1).log().to(self.log_sigmas.device)
        return (asked - self.log_sigmas).abs().argmin(dim=1).reshape(sigma.shape).to(sigma.device)

    def sigma(self, timestep: torch.Tensor) -> torch.Tensor:
        """Between two levels by the logarithm."""
        place = timestep.float().to(self.log_sigmas.device).clamp(0, len(self.sigmas) - 1)
        ends = self.log_sigmas[place.floor().long()], self.log_sigmas[place.ceil().long()]
        part = place.frac()
        return ((1 - part) * ends[0] + part * ends[1]).exp().to(timestep.device)

    def percent_to_sigma(self, percent: float) -> float:
        """The level after so much of the sampling; above all levels at 0, and 0 at 1."""
        if 0.0 < percent < 1.0:
            return self.sigma(torch.tensor((1.0 - percent) * 999.0)).item()
        return 0.0 if percent >= 1.0 else 999999999.9


def k_prediction_from_diffusers_scheduler(scheduler: Any) -> Prediction:
    config = scheduler.config
    if config.beta_schedule != "scaled_linear":
        raise NotImplementedError(f"Noise schedules of the kind {config.beta_schedule} are not known here.")
    return Prediction(
        prediction_type=config.prediction_type,
        linear_start=config.beta_start,
        linear_end=config.beta_end,
        timesteps=config.num_train_timesteps,
    )
