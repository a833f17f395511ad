"""A small network of the usual kind, for points in place of latents."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise

import torch
from torch import Tensor, nn

from benches.ddil.mixture import Mixture
from extension_core.training.denoiser import Denoiser
from extension_core.training.noise_schedule import NoiseSchedule


class Student(nn.Module):
    """v of z [B, D] at timesteps [B]: three hidden layers, the timestep as sines and cosines."""

    def __init__(self, dimensions: int, width: int = 96, waves: int = 8) -> None:
        super().__init__()
        self.register_buffer("frequencies", 2.0 ** torch.arange(waves) * math.pi, persistent=False)
        sizes = [dimensions + 2 * waves, width, width, width]
        layers: list[nn.Module] = []
        for before, after in pairwise(sizes):
            layers += [nn.Linear(before, after), nn.SiLU()]
        self.layers = nn.Sequential(*layers, nn.Linear(width, dimensions))

    def forward(self, z: Tensor, timesteps: Tensor, conditioning: Mapping[str, Tensor]) -> Tensor:
        angles = timesteps.to(z)[:, None] / 1000 * self.get_buffer("frequencies")
        return self.layers(torch.cat([z, angles.sin(), angles.cos()], dim=1))


def pretrained(mixture: Mixture, schedule: NoiseSchedule, seed: int, updates: int = 4000, batch: int = 512) -> Student:
    """A student that denoises as well as its size allows: where every distillation begins, as from the teacher."""
    torch.manual_seed(seed)
    network = Student(mixture.shape[0])
    denoiser = Denoiser(network, schedule, "v")
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=0.0)
    generator = torch.Generator().manual_seed(seed)
    for update in range(updates):
        x0, _ = mixture.draw(batch, generator)
        timesteps = torch.randint(0, 1000, (batch,), generator=generator)
        z = schedule.add_noise(x0, timesteps, torch.randn(x0.shape, generator=generator))
        target = schedule.output_of(mixture.teacher(schedule, z, timesteps), z, timesteps, "v")
        loss = (denoiser.network(z, timesteps, {}) - target).square().mean()
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * 0.5 * (1 + math.cos(math.pi * update / updates))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network
