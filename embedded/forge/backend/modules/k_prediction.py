"""Noise levels, and what a network's prediction says about the picture at them."""

from __future__ import annotations

from typing import Any

import torch

from embedded.networks import noise

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
    """Stable Diffusion's discrete levels: `sigmas` [T] rise. Made from the fields of a diffusers scheduler's config.

    `prediction_type`: "epsilon" or "v_prediction".
    """

    sigmas: torch.Tensor
    log_sigmas: torch.Tensor

    def __init__(
        self, *, prediction_type: str, beta_start: float, beta_end: float, num_train_timesteps: int, **_others: Any
    ) -> None:
        super().__init__()
        self.prediction_type = prediction_type
        schedule = (num_train_timesteps, beta_start, beta_end)
        self.register_buffer("alphas_cumprod", noise.alphas_cumprod(*schedule).float())
        self.set_sigmas(noise.sigmas(*schedule))

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
