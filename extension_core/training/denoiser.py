"""A network together with what its output means; the same for teacher, student and fake score."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from extension_core.training.noise_schedule import NoiseSchedule, Prediction

Conditioning = Mapping[str, Tensor]
"""What a network is told of the prompts, each tensor [B, ...]; empty where it is told nothing."""

Network = Callable[[Tensor, Tensor, Conditioning], Tensor]
"""The raw output [B, ...] at z [B, ...] and timesteps [B]."""

Thresholding = Callable[[Tensor], Tensor]
"""x0 [B, ...] brought into the range of data."""


class Denoised(NamedTuple):
    """Both halves of z = alpha x0 + sigma eps, each [B, ...]."""

    x0: Tensor
    eps: Tensor


class Denoising(Protocol):
    """What predicts x0 and eps at z [B, ...], timesteps [B] and a conditioning."""

    def __call__(self, z: Tensor, timesteps: Tensor, conditioning: Conditioning) -> Denoised: ...


@dataclass
class Evaluations:
    """How many rows a network was given: what a training or a rollout costs, whatever the batch."""

    rows: int = 0


@dataclass
class Denoiser:
    """A network whose x0 may be thresholded; eps then follows the thresholded x0, as in a reflected process.

    Args:
        threshold: none where x0 is taken as it is.
    """

    network: Network
    schedule: NoiseSchedule
    prediction: Prediction = "eps"
    threshold: Thresholding | None = None
    evaluations: Evaluations = field(default_factory=Evaluations)

    def __call__(self, z: Tensor, timesteps: Tensor, conditioning: Conditioning) -> Denoised:
        self.evaluations.rows += len(z)
        output = self.network(z, timesteps, conditioning)
        x0 = self.schedule.x0_of(output, z, timesteps, self.prediction)
        if self.threshold is None and self.prediction == "eps":
            return Denoised(x0, output)
        x0 = self.threshold(x0) if self.threshold is not None else x0
        return Denoised(x0, self.schedule.eps_of(x0, z, timesteps))


@dataclass
class Guided:
    """A denoiser under classifier-free guidance: uncond + cfg (cond - uncond), on x0; at cfg 1 uncond is not run.

    A threshold acts on the guided x0, not on its halves: guidance is what drives x0 out of range.

    Args:
        uncond: the conditioning of an empty prompt, each tensor [1, ...]; what it leaves out is the prompt's.
        cfg: one for all, or [B] for the rows of a batch.
    """

    denoiser: Denoiser
    uncond: Conditioning
    cfg: float | Tensor = 1.0
    threshold: Thresholding | None = None

    def __call__(self, z: Tensor, timesteps: Tensor, conditioning: Conditioning) -> Denoised:
        if not isinstance(self.cfg, Tensor) and self.cfg == 1:
            x0 = self.denoiser(z, timesteps, conditioning).x0
        else:
            rows = len(z)
            empty = {name: value.expand(rows, *value.shape[1:]) for name, value in self.uncond.items()}
            both = {name: torch.cat([empty.get(name, value), value]) for name, value in conditioning.items()}
            without, told = self.denoiser(torch.cat([z, z]), timesteps.repeat(2), both).x0.chunk(2)
            cfg = torch.as_tensor(self.cfg, device=z.device, dtype=z.dtype).view(-1, *[1] * (z.ndim - 1))
            x0 = without + cfg * (told - without)
        x0 = self.threshold(x0) if self.threshold is not None else x0
        return Denoised(x0, self.denoiser.schedule.eps_of(x0, z, timesteps))
