"""Progressive distillation (arXiv 2202.00512): one step of the student is two DDIM steps of its teacher."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from extension_core.training.denoiser import Conditioning, Denoiser, Denoising
from extension_core.training.draws import Draws
from extension_core.training.methods.method import Loss, per_row
from extension_core.training.noise_schedule import CLEAN, NoiseSchedule, evenly_spaced
from extension_core.training.replay import Rows
from extension_core.training.rollout import ddim_steps
from extension_core.training.states import Grid

Weighting = Literal["x0", "eps", "truncated", "v"]
"""Whose mean square error the loss is; `truncated` is the larger of the first two, the paper's own choice."""


def weights(weighting: Weighting, alpha: Tensor, sigma: Tensor) -> Tensor:
    """Factor [B] on the mean square error of x0, for alpha and sigma [B]."""
    ratio = (alpha / sigma).square()
    if weighting == "truncated":
        return ratio.clamp(min=1)
    return {"x0": torch.ones_like(ratio), "eps": ratio, "v": ratio + 1}[weighting]


@dataclass
class Progressive:
    """One halving: the student samples in `steps` DDIM steps what its teacher does in twice as many.

    Args:
        student: starts as the teacher.
        steps: number of the student's.
    """

    teacher: Denoising
    student: Denoiser
    network: nn.Module
    schedule: NoiseSchedule
    steps: int
    weighting: Weighting = "truncated"
    sampled_by: Denoising | None = None

    def __post_init__(self) -> None:
        total = len(self.schedule.alphas_cumprod)
        fine = evenly_spaced(2 * self.steps, total)
        own = evenly_spaced(self.steps, total)
        self._fine = dict(zip(own, zip(fine[1::2], [*own[1:], CLEAN], strict=True), strict=True))
        self.grid = Grid(own, own, "ddim")

    @property
    def trained(self) -> Mapping[str, nn.Module]:
        return {"student": self.network}

    @property
    def sampled(self) -> Denoising:
        return self.sampled_by or self.student

    def target(self, z: Tensor, timesteps: Tensor, conditioning: Conditioning) -> Tensor:
        """x0 [B, ...] by which one step of the student lands where two of the teacher do, from z [B, ...]."""
        middle, then = torch.tensor([self._fine[int(timestep)] for timestep in timesteps]).to(z.device).unbind(1)
        there = ddim_steps(self.teacher, self.schedule, (timesteps, middle, then), z, conditioning)
        return self.schedule.x0_reaching(z, timesteps, there, then)

    def losses(self, states: Rows, conditioning: Conditioning, update: int, draws: Draws) -> Iterator[Loss]:
        z, timesteps = states.z, states.timesteps
        with torch.no_grad():
            target = self.target(z, timesteps, conditioning)
        alpha, sigma = self.schedule.levels(timesteps, z.flatten(1))
        error = per_row((self.student(z, timesteps, conditioning).x0 - target).float().square())
        yield Loss("student", (weights(self.weighting, alpha[:, 0], sigma[:, 0]) * error).mean())
