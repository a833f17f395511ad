"""A mixture of Gaussians: data, its exact denoiser at every noise level, and what a student misses of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from extension_core.training.noise_schedule import NoiseSchedule


@dataclass(frozen=True)
class Mixture:
    """Gaussians of one spread; float32 throughout.

    Args:
        means: [K, D].
        weights: [K], with sum 1.
        spread: standard deviation of each in every dimension.
    """

    means: Tensor
    weights: Tensor
    spread: float

    @classmethod
    def unequal_grid(cls) -> Mixture:
        """25 modes on a square in 2 dimensions, the rarest 1 in 100; unit variance over all."""
        axis = torch.linspace(-1.4, 1.4, 5)
        means = torch.cartesian_prod(axis, axis)
        order = torch.randperm(25, generator=torch.Generator().manual_seed(0))
        weights = torch.linspace(0.25, 1.75, 25)[order]
        return cls(means, weights / weights.sum(), 0.08)

    @classmethod
    def scattered(cls, dimensions: int = 16, modes: int = 24) -> Mixture:
        """Modes at random places of many dimensions, unequal."""
        generator = torch.Generator().manual_seed(1)
        means = torch.randn(modes, dimensions, generator=generator)
        weights = torch.linspace(0.3, 1.7, modes)
        return cls(means, weights / weights.sum(), 0.2)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one sample."""
        return (self.means.shape[1],)

    def draw(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Samples [count, D]; there is one prompt, of index 0."""
        modes = torch.multinomial(self.weights, count, replacement=True, generator=generator)
        noise = torch.randn(count, self.means.shape[1], generator=generator)
        return self.means[modes] + self.spread * noise, torch.zeros(count, dtype=torch.long)

    def draw_prompts(self, count: int, generator: torch.Generator) -> Tensor:
        """The one prompt."""
        return torch.zeros(count, dtype=torch.long)

    def conditioning(self, prompts: Tensor) -> Mapping[str, Tensor]:
        """Nothing is told of it."""
        return {}

    def responsibilities(self, z: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        """Chance [B, K] of each mode that z [B, D] at alpha and sigma [B, 1] came of it."""
        variance = (alpha * self.spread).square() + sigma.square()
        distance = (z[:, None] - alpha[..., None] * self.means).square().sum(dim=-1)
        return (self.weights.log() - distance / (2 * variance)).softmax(dim=1)

    def teacher(self, schedule: NoiseSchedule, z: Tensor, timesteps: Tensor) -> Tensor:
        """The mean image [B, D] at z [B, D], timesteps [B]: what a perfect network predicts."""
        alpha, sigma = schedule.levels(timesteps, z)
        variance = (alpha * self.spread).square() + sigma.square()
        residual = z[:, None] - alpha[..., None] * self.means
        each = self.means + (alpha * self.spread**2 / variance)[..., None] * residual
        return (self.responsibilities(z, alpha, sigma)[..., None] * each).sum(dim=1)

    def reached(self, samples: Tensor) -> Tensor:
        """Part [K] of the samples [n, D] that lie within four spreads of each mode (nearest alone)."""
        distance = torch.cdist(samples, self.means)
        nearest = distance.min(dim=1)
        close = nearest.values < 4 * self.spread * math.sqrt(self.means.shape[1] / 2)
        return torch.bincount(nearest.indices[close], minlength=len(self.means)) / len(samples)
