"""DMD2, distribution matching (arXiv 2405.14867): a student follows the difference of two scores at its own images."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from extension_core.training.denoiser import Conditioning, Denoiser, Denoising
from extension_core.training.draws import Draws
from extension_core.training.methods.method import Loss, like_rows, per_row
from extension_core.training.noise_schedule import NoiseSchedule
from extension_core.training.replay import Rows
from extension_core.training.states import Grid

TRAINED_AT = (999, 749, 499, 249)
"""Where its authors train the student of four steps."""


def matching_gradient(x0: Tensor, real: Tensor, fake: Tensor) -> Tensor:
    """Gradient [B, ...], float64, on the student's x0 [B, ...]: p_real - p_fake over the mean size of p_real.

    p is what lies between the image and the one that teacher or fake score see in it when it is noised; a row in
    which nothing lies between has no gradient.
    """
    to_real, to_fake = x0.double() - real.double(), x0.double() - fake.double()
    return torch.nan_to_num((to_real - to_fake) / like_rows(per_row(to_real.abs()), to_real), 0.0, 0.0, 0.0)


class Critic(Protocol):
    """Whether images are data's: logits [B] at noised images z [B, ...] (DMD2: a head on the fake U-Net's middle)."""

    def __call__(self, z: Tensor, timesteps: Tensor, conditioning: Conditioning) -> Tensor: ...


class RealImages(Protocol):
    """Images of the data [count, ...], with the conditioning of their own prompts."""

    def __call__(self, count: int, draws: Draws) -> tuple[Tensor, Conditioning]: ...


@dataclass(frozen=True)
class Adversary:
    """The GAN beside the matching.

    Args:
        critic: part of what the optimizer `fake` trains.
        generator_weight: on the student's softplus(-D).
        critic_weight: on the critic's loss beside the fake score's.
        highest: images are noised to timesteps below.
    """

    critic: Critic
    images: RealImages
    generator_weight: float = 5e-3
    critic_weight: float = 1e-2
    highest: int = 1000


@dataclass(frozen=True)
class MatchingOptions:
    """How often and where.

    Args:
        ratio: updates of the fake score for one of the student.
        between: parts of the schedule between which images are noised for the matching.
    """

    ratio: int = 5
    between: tuple[float, float] = (0.02, 0.98)


@dataclass
class Matching:
    """The student's images are moved to where the teacher sees data and the fake score does not.

    Its plain form trains at the student's own states already (backward simulation).

    Args:
        teacher: guided.
        fake: starts as the teacher, learns the student's images.
        networks: modules of the optimizers `student` and `fake`; a critic's head belongs to the latter.
    """

    teacher: Denoising
    student: Denoiser
    fake: Denoiser
    networks: Mapping[str, nn.Module]
    schedule: NoiseSchedule
    steps: Sequence[int] = TRAINED_AT
    options: MatchingOptions = field(default_factory=MatchingOptions)
    adversary: Adversary | None = None
    sampled_by: Denoising | None = None

    def __post_init__(self) -> None:
        self.grid = Grid(list(self.steps), list(self.steps), "renoise")

    @property
    def trained(self) -> Mapping[str, nn.Module]:
        return self.networks

    @property
    def sampled(self) -> Denoising:
        return self.sampled_by or self.student

    def losses(self, states: Rows, conditioning: Conditioning, update: int, draws: Draws) -> Iterator[Loss]:
        if update % self.options.ratio == 0:
            x0 = self.student(states.z, states.timesteps, conditioning).x0
            yield Loss("student", self._student_loss(x0, states, conditioning, draws))
            x0 = x0.detach()
        else:
            with torch.no_grad():
                x0 = self.student(states.z, states.timesteps, conditioning).x0
        yield Loss("fake", self._fake_loss(x0, conditioning, draws))

    def _student_loss(self, x0: Tensor, states: Rows, conditioning: Conditioning, draws: Draws) -> Tensor:
        gradient = self.gradient(x0.detach(), conditioning, draws)
        loss = 0.5 * F.mse_loss(x0.double(), x0.detach().double() - gradient)
        if self.adversary is not None:
            with _frozen(self.networks["fake"]):
                logits = self._logits(self.adversary, x0, conditioning, draws)
            loss = loss + self.adversary.generator_weight * F.softplus(-logits).mean()
        return loss

    @torch.no_grad()
    def gradient(self, x0: Tensor, conditioning: Conditioning, draws: Draws) -> Tensor:
        """`matching_gradient` at images x0 [B, ...], noised to random timesteps."""
        lowest, highest = (round(part * len(self.schedule.alphas_cumprod)) for part in self.options.between)
        z, timesteps, _ = self._noised(x0, lowest, highest, draws)
        real = self.teacher(z, timesteps, conditioning).x0
        return matching_gradient(x0, real, self.fake(z, timesteps, conditioning).x0)

    def _fake_loss(self, x0: Tensor, conditioning: Conditioning, draws: Draws) -> Tensor:
        z, timesteps, noise = self._noised(x0, 0, len(self.schedule.alphas_cumprod), draws)
        loss = F.mse_loss(self.fake(z, timesteps, conditioning).eps, noise)
        if (adversary := self.adversary) is not None:
            real, told = adversary.images(len(x0), draws)
            wrong = self._logits(adversary, x0, conditioning, draws)
            right = self._logits(adversary, real, told, draws)
            loss = loss + adversary.critic_weight * (F.softplus(wrong) + F.softplus(-right)).mean()
        return loss

    def _logits(self, adversary: Adversary, x0: Tensor, conditioning: Conditioning, draws: Draws) -> Tensor:
        z, timesteps, _ = self._noised(x0, 0, adversary.highest, draws)
        return adversary.critic(z, timesteps, conditioning)

    def _noised(self, x0: Tensor, lowest: int, highest: int, draws: Draws) -> tuple[Tensor, Tensor, Tensor]:
        timesteps = draws.integers(lowest, highest, len(x0)).to(x0.device)
        noise = draws.normal(x0)
        return self.schedule.add_noise(x0, timesteps, noise), timesteps, noise


@contextmanager
def _frozen(module: nn.Module) -> Generator[None, None, None]:
    """What is asked of a module meanwhile leaves no gradient in it."""
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    for parameter in trained:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)
