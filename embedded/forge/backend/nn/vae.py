"""The autoencoder with what the host asks of its configuration."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch

from embedded import networks


class DiagonalGaussianDistribution:
    """Draws from torch's global generator."""

    def __init__(self, mean: torch.Tensor, logvar: torch.Tensor) -> None:
        self.mean, self.logvar = mean, torch.clamp(logvar, -30.0, 20.0)
        self.std = torch.exp(0.5 * self.logvar)

    def sample(self) -> torch.Tensor:
        return self.mean + self.std * torch.randn(self.mean.shape).to(self.mean)

    def mode(self) -> torch.Tensor:
        return self.mean


class IntegratedAutoencoderKL(networks.AutoencoderKL):
    def __init__(self, ddconfig: dict[str, Any], embed_dim: int, scaling_factor: float) -> None:
        super().__init__(ddconfig, embed_dim)
        blocks = ["DownEncoderBlock2D"] * len(ddconfig["ch_mult"])
        self.config = SimpleNamespace(down_block_types=blocks, latent_channels=embed_dim, scaling_factor=scaling_factor)

    def process_in(self, latent: torch.Tensor) -> torch.Tensor:
        return latent * self.config.scaling_factor

    def process_out(self, latent: torch.Tensor) -> torch.Tensor:
        return latent / self.config.scaling_factor

    def encode(  # type: ignore[override]
        self, x: torch.Tensor, regulation: Callable[[DiagonalGaussianDistribution], torch.Tensor] | None = None
    ) -> torch.Tensor:
        posterior = DiagonalGaussianDistribution(*super().encode(x))
        return posterior.sample() if regulation is None else regulation(posterior)
