"""DP-DMD (arXiv 2602.03139): matching that also holds the student's first step to the teacher's own way from there."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from extension_core.training.denoiser import Conditioning
from extension_core.training.draws import Draws
from extension_core.training.methods.matching import Matching
from extension_core.training.noise_schedule import evenly_spaced
from extension_core.training.replay import Rows
from extension_core.training.rollout import ddim_steps


@dataclass
class DiverseMatching(Matching):
    """The matching's loss, and at states of the first step the distance to where the teacher's first steps lead.

    The paper writes it for velocities of a flow, where the state is the noise and the mean velocity to z_t is the
    noise less an image. That image is the one by which a single step lands at z_t, so here it is a distance of x0.

    Args:
        diversity_weight: on that distance.
        teacher_steps: length of the teacher's own sampling.
        lead: how many of its steps are taken.
    """

    diversity_weight: float = 5e-2
    teacher_steps: int = 28
    lead: int = 5

    def first_image(self, z: Tensor, conditioning: Conditioning) -> Tensor:
        """x0 [B, ...] of a single step from z [B, ...], at the first timestep, to where the teacher's steps lead."""
        total = len(self.schedule.alphas_cumprod)
        path = [step for step in evenly_spaced(self.teacher_steps, total) if step < self.steps[0]]
        timesteps = [torch.full((len(z),), step, device=z.device) for step in (self.steps[0], *path[: self.lead])]
        there = ddim_steps(self.teacher, self.schedule, timesteps, z, conditioning)
        return self.schedule.x0_reaching(z, timesteps[0], there, timesteps[-1])

    def _student_loss(self, x0: Tensor, states: Rows, conditioning: Conditioning, draws: Draws) -> Tensor:
        loss = super()._student_loss(x0, states, conditioning, draws)
        first = states.timesteps == self.steps[0]
        if not bool(first.any()):
            return loss
        told = {name: value[first] for name, value in conditioning.items()}
        with torch.no_grad():
            image = self.first_image(states.z[first], told)
        return loss + self.diversity_weight * F.mse_loss(x0[first], image)
