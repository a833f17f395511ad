"""Latent consistency distillation (arXiv 2310.04378), in the form that hosts sample: no embedding of the guidance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from extension_core.training.denoiser import Conditioning, Denoised, Denoiser, Denoising, Guided
from extension_core.training.draws import Draws
from extension_core.training.methods.method import Loss, like_rows
from extension_core.training.noise_schedule import NoiseSchedule
from extension_core.training.replay import Rows
from extension_core.training.rollout import ddim_steps
from extension_core.training.states import Grid

_DATA_SPREAD, _TIMESTEP_SCALE = 0.5, 10.0


def boundary(timesteps: Tensor) -> tuple[Tensor, Tensor]:
    """c_skip and c_out [B] at timesteps [B]: at 0 the state is its own image."""
    scaled = timesteps.double() * _TIMESTEP_SCALE
    size = scaled.square() + _DATA_SPREAD**2
    return _DATA_SPREAD**2 / size, scaled / size.sqrt()


def pseudo_huber(difference: Tensor, c: float = 1e-3) -> Tensor:
    """sqrt(d^2 + c^2) - c, as large as difference [B, ...]."""
    return (difference.square() + c * c).sqrt() - c


@dataclass
class ConsistencyFunction:
    """What the student is asked for: c_skip z + c_out x0."""

    denoiser: Denoiser

    def __call__(self, z: Tensor, timesteps: Tensor, conditioning: Conditioning) -> Denoised:
        """As a `Denoising`."""
        skip, out = boundary(timesteps)
        x0 = like_rows(skip, z) * z + like_rows(out, z) * self.denoiser(z, timesteps, conditioning).x0
        return Denoised(x0, self.denoiser.schedule.eps_of(x0, z, timesteps))


@dataclass
class Consistency:
    """At two neighbouring states of one DDIM path of the guided teacher the student says the same image.

    Args:
        student: the U-Net, or the U-Net with a LoRA.
        averaged: the student's moving average, which gives the target of the full form; the LoRA's is its own.
        cfg: guidance of the teacher, drawn evenly between these two for each row.
        steps: timesteps of the student's sampling; they have to be among those of the DDIM grid.
        solver_steps: size of that grid.
    """

    teacher: Guided
    student: Denoiser
    network: nn.Module
    schedule: NoiseSchedule
    steps: Sequence[int]
    averaged: Denoiser | None = None
    cfg: tuple[float, float] = (6.0, 16.0)
    solver_steps: int = 50
    sampled_by: Denoiser | None = None

    def __post_init__(self) -> None:
        self._stride = len(self.schedule.alphas_cumprod) // self.solver_steps
        trained = [self._stride * (index + 1) - 1 for index in reversed(range(self.solver_steps))]
        if outside := sorted(set(self.steps) - set(trained), reverse=True):
            raise ValueError(
                f"The student would be sampled at timesteps {outside}, which the {self.solver_steps} steps of the "
                f"solver do not have; give some of {trained[0]}, {trained[1]} ... {trained[-1]}."
            )
        self.grid = Grid(trained, list(self.steps), "renoise")

    @property
    def trained(self) -> Mapping[str, nn.Module]:
        return {"student": self.network}

    @property
    def sampled(self) -> Denoising:
        return ConsistencyFunction(self.sampled_by or self.student)

    def target(self, z: Tensor, timesteps: Tensor, conditioning: Conditioning, cfg: Tensor) -> Tensor:
        """The image [B, ...] at the state that the teacher reaches from z [B, ...] under guidance cfg [B]."""
        then = (timesteps - self._stride).clamp(min=0)
        guided = Guided(self.teacher.denoiser, self.teacher.uncond, cfg, self.teacher.threshold)
        there = ddim_steps(guided, self.schedule, (timesteps, then), z, conditioning)
        return ConsistencyFunction(self.averaged or self.student)(there, then, conditioning).x0

    def losses(self, states: Rows, conditioning: Conditioning, update: int, draws: Draws) -> Iterator[Loss]:
        z, timesteps = states.z, states.timesteps
        low, high = self.cfg
        cfg = low + (high - low) * draws.uniform(len(z)).to(z)
        with torch.no_grad():
            target = self.target(z, timesteps, conditioning, cfg)
        x0 = ConsistencyFunction(self.student)(z, timesteps, conditioning).x0
        yield Loss("student", pseudo_huber((x0 - target).float()).mean())
