"""Noise levels, and what a network's prediction says about the picture at them."""

from __future__ import annotations

from typing import Any

import torch

_LOWEST_SIGNAL = 4.8973451890853435e-08


def rescale_zero_terminal_snr_sigmas(sigmas: torch.Tensor) -> torch.Tensor:
    """Levels moved so that the last one holds no signal (Lin et al. 2023)."""
    root = (1 / (sigmas * sigmas + 1)).sqrt()
    first, last = root[0], root[-1]
    power = ((root - last) * (first / (first - last))) ** 2
    power[-1] = _LOWEST_SIGNAL
    return ((1 - power) / power) ** 0.5


def _like(sigma: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    return sigma.view(sigma.shape[:1] + (1,) * (x.ndim - 1))


class AbstractPrediction(torch.nn.Module):
    """`prediction_type`: "epsilon" or "v_prediction". `sigmas` [T] rise."""

    sigmas: torch.Tensor
    log_sigmas: torch.Tensor

    def __init__(self, sigma_data: float = 1.0, prediction_type: str = "epsilon") -> None:
        super().__init__()
        self.sigma_data, self.prediction_type = sigma_data, prediction_type

    def calculate_input(self, sigma: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        return noise / (_like(sigma, noise) ** 2 + self.sigma_data**2) ** 0.5

    def calculate_denoised(
        self, sigma: torch.Tensor, model_output: torch.Tensor, model_input: torch.Tensor
    ) -> torch.Tensor:
        level = _like(sigma, model_output)
        if self.prediction_type != "v_prediction":
            return model_input - model_output * level
        power = level**2 + self.sigma_data**2
        return model_input * self.sigma_data**2 / power - model_output * level * self.sigma_data / power**0.5

    def noise_scaling(
        self, sigma: torch.Tensor, noise: torch.Tensor, latent_image: torch.Tensor, max_denoise: bool = False
    ) -> torch.Tensor:
        return noise * (torch.sqrt(1.0 + sigma**2.0) if max_denoise else sigma) + latent_image

    def inverse_noise_scaling(self, sigma: torch.Tensor, latent: torch.Tensor) -> torch.Tensor:
        del sigma
        return latent

    @property
    def sigma_min(self) -> torch.Tensor:
        return self.sigmas[0]

    @property
    def sigma_max(self) -> torch.Tensor:
        return self.sigmas[-1]


class Prediction(AbstractPrediction):
    """Stable Diffusion's discrete levels, from betas whose roots are evenly spaced."""

    def __init__(
        self,
        sigma_data: float = 1.0,
        prediction_type: str = "epsilon",
        beta_schedule: str = "linear",
        linear_start: float = 0.00085,
        linear_end: float = 0.012,
        timesteps: int = 1000,
    ) -> None:
        del beta_schedule
        super().__init__(sigma_data, prediction_type)
        roots = torch.linspace(linear_start**0.5, linear_end**0.5, timesteps, dtype=torch.float64)
        power = torch.cumprod(1.0 - roots**2, dim=0)
        self.register_buffer("alphas_cumprod", power.float())
        self.set_sigmas(((1 - power) / power) ** 0.5)

    def set_sigmas(self, sigmas: torch.Tensor) -> None:
        self.register_buffer("sigmas", sigmas.float())
        self.register_buffer("log_sigmas", sigmas.log().float())

    def timestep(self, sigma: torch.Tensor) -> torch.Tensor:
        """The nearest level's number, in the shape of `sigma`."""
        distances = sigma.log().to(self.log_sigmas.device) - self.log_sigmas[:, None]
        return distances.abs().argmin(dim=0).view(sigma.shape).to(sigma.device)

    def sigma(self, timestep: torch.Tensor) -> torch.Tensor:
        """Between two levels by the logarithm."""
        place = torch.clamp(timestep.float().to(self.log_sigmas.device), 0, len(self.sigmas) - 1)
        low, high, part = place.floor().long(), place.ceil().long(), place.frac()
        level = (1 - part) * self.log_sigmas[low] + part * self.log_sigmas[high]
        return level.exp().to(timestep.device)

    def percent_to_sigma(self, percent: float) -> float:
        """The level after so much of the sampling; above all levels at 0, and 0 at 1."""
        if percent <= 0.0:
            return 999999999.9
        return 0.0 if percent >= 1.0 else self.sigma(torch.tensor((1.0 - percent) * 999.0)).item()


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
