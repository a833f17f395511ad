"""The discrete noise schedule that teacher and student share, and what follows from it alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Prediction = Literal["eps", "v", "x0"]
"""What a network's output means: the noise, the velocity alpha eps - sigma x0 (arXiv 2202.00512), or the image."""

CLEAN = -1
"""The timestep of an image without noise."""


@dataclass(frozen=True)
class NoiseSchedule:
    """z_t = alpha_t x0 + sigma_t eps with alpha_t^2 + sigma_t^2 = 1, for timesteps 0 to T - 1 and `CLEAN`.

    Args:
        alphas_cumprod: alpha_t^2, float64 [T], falling.
    """

    alphas_cumprod: Tensor

    @classmethod
    def stable_diffusion(cls) -> NoiseSchedule:
        """That of SD 1.x, 2.x and SDXL: betas linear in their square root, 0.00085 to 0.012, 1000 timesteps."""
        betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
        return cls(torch.cumprod(1 - betas, dim=0))

    def with_zero_terminal_snr(self) -> NoiseSchedule:
        """The same, shifted and scaled so that the last timestep is noise alone (arXiv 2305.08891, algorithm 1)."""
        root = self.alphas_cumprod.sqrt()
        first, last = root[0], root[-1]
        return NoiseSchedule(((root - last) * first / (first - last)).square())

    def levels(self, timesteps: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """Signal alpha and noise sigma at timesteps [B], each [B, 1, ...], of the kind of `like`."""
        padded = torch.cat([self.alphas_cumprod, self.alphas_cumprod.new_ones(1)])  # the last is CLEAN's, -1
        power = padded[timesteps.to(padded.device)].view(-1, *[1] * (like.ndim - 1))
        return power.sqrt().to(like), (1 - power).sqrt().to(like)

    def add_noise(self, x0: Tensor, timesteps: Tensor, noise: Tensor) -> Tensor:
        """z_t [B, ...] of clean x0 [B, ...] at timesteps [B]; `noise` may also be a predicted eps (a DDIM step)."""
        alpha, sigma = self.levels(timesteps, x0)
        return alpha * x0 + sigma * noise

    def x0_of(self, output: Tensor, z: Tensor, timesteps: Tensor, prediction: Prediction) -> Tensor:
        """The image [B, ...] that an output [B, ...] at z [B, ...] predicts. eps says nothing where alpha is 0."""
        alpha, sigma = self.levels(timesteps, z)
        if prediction == "eps":
            return (z - sigma * output) / alpha
        return alpha * z - sigma * output if prediction == "v" else output

    def eps_of(self, x0: Tensor, z: Tensor, timesteps: Tensor) -> Tensor:
        """The noise [B, ...] that z [B, ...] holds if its image is x0 [B, ...]. Undefined for `CLEAN`."""
        alpha, sigma = self.levels(timesteps, z)
        return (z - alpha * x0) / sigma

    def output_of(self, x0: Tensor, z: Tensor, timesteps: Tensor, prediction: Prediction) -> Tensor:
        """The output [B, ...] that predicts x0 [B, ...] at z [B, ...]: the inverse of `x0_of`."""
        if prediction == "x0":
            return x0
        eps = self.eps_of(x0, z, timesteps)
        if prediction == "eps":
            return eps
        alpha, sigma = self.levels(timesteps, z)
        return alpha * eps - sigma * x0

    def x0_reaching(self, z: Tensor, timesteps: Tensor, there: Tensor, then: Tensor) -> Tensor:
        """The image [B, ...] by which one DDIM step from z at timesteps [B] lands at `there` [B, ...] at `then` [B].

        Progressive distillation's target (arXiv 2202.00512, appendix G). `then` lies below `timesteps`.
        """
        (alpha, sigma), (alpha_then, sigma_then) = self.levels(timesteps, z), self.levels(then, z)
        ratio = sigma_then / sigma
        return (there - ratio * z) / (alpha_then - ratio * alpha)


def evenly_spaced(count: int, total: int = 1000) -> list[int]:
    """Timesteps from the noisiest in equal distances, the whole schedule divided ("trailing").

    Raises:
        ValueError: fewer than 1 or more than `total`.
    """
    if not 1 <= count <= total:
        raise ValueError(f"A sampler of {count} steps is not possible; give 1 to {total}.")
    return [round(total - index * total / count) - 1 for index in range(count)]
