"""The times at which UniPC (Zhao et al. 2023) asks its model: in (0, 1], where step n of N stands at (n + 1) / N."""

from __future__ import annotations

from typing import Any

import torch


class NoiseScheduleVP:
    """A discrete schedule made continuous."""

    def __init__(
        self, schedule: str = "discrete", betas: Any = None, alphas_cumprod: torch.Tensor | None = None
    ) -> None:
        if schedule != "discrete" or betas is not None or alphas_cumprod is None:
            raise ValueError("Only 'discrete' schedules of alphas_cumprod are known here.")
        self.T, self.total_N, self.log_alphas = 1.0, len(alphas_cumprod), 0.5 * alphas_cumprod.log()

    def alpha_and_sigma(self, t: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Standard deviations of signal and noise at a time."""
        place = t * self.total_N - 1
        below = int(place.clamp(0, self.total_N - 2))
        alpha = torch.lerp(self.log_alphas[below], self.log_alphas[below + 1], place - below).exp()
        return alpha, (1.0 - alpha**2).sqrt()


class UniPC:
    """Its grid of times alone; the sampler that goes through it is the stage's own (sd_samplers_timesteps)."""

    def __init__(
        self,
        model_fn: Any,
        noise_schedule: NoiseScheduleVP,
        predict_x0: bool = True,
        thresholding: bool = False,
        max_val: float = 1.0,
        variant: str = "bh1",
    ) -> None:
        self.noise_schedule = noise_schedule

    def get_time_steps(self, skip_type: str, t_T: float, t_0: float, N: int, device: Any) -> torch.Tensor:
        """Times [N + 1] from t_T down to t_0, spaced by "time_uniform" or "time_quadratic"."""
        power = {"time_uniform": 1, "time_quadratic": 2}[skip_type]
        return torch.linspace(t_T ** (1 / power), t_0 ** (1 / power), N + 1).pow(power).to(device)
