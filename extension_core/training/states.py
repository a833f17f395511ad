"""Where the noisy latent of an update comes from: DDIL's switch over every method (arXiv 2410.11971, section 4).

Its priors are not public, nor whether they follow a schedule: here both are a user's, and measured.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Protocol

import torch
from torch import Tensor

from extension_core.training.denoiser import Conditioning, Denoising
from extension_core.training.draws import Draws
from extension_core.training.noise_schedule import NoiseSchedule
from extension_core.training.replay import Bounds, ReplayBuffer, Rows
from extension_core.training.rollout import Sampler, states

_Rollout = Callable[[Tensor, Conditioning, torch.Generator], list[tuple[Tensor, int]]]

SOURCES = ("forward", "teacher", "student")
"""Noised data; a state of the teacher's rollout; a state of the student's own."""


class Data(Protocol):
    """Training images and prompts."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one latent."""
        ...

    def draw(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Latents [count, ...] and the index of each one's prompt, int64 [count]."""
        ...

    def draw_prompts(self, count: int, generator: torch.Generator) -> Tensor:
        """Indices of prompts, int64 [count]."""
        ...

    def conditioning(self, prompts: Tensor) -> Conditioning:
        """What the networks are told of prompts int64 [n]; each tensor [n, ...]."""
        ...


@dataclass(frozen=True)
class Priors:
    """How often a row of a batch comes from each source; any three numbers, their sum counts as 1.

    Args:
        last: the priors at the last update, reached in a straight line; without them they stay as they are.
    """

    forward: float = 1.0
    teacher: float = 0.0
    student: float = 0.0
    last: Priors | None = None

    def __post_init__(self) -> None:
        values = (self.forward, self.teacher, self.student)
        if min(values) < 0 or sum(values) <= 0:
            raise ValueError(f"The priors are {values}; none may be below 0, and one must be above.")

    def at(self, progress: float) -> Tensor:
        """[3] in the order of `SOURCES`, with sum 1; progress goes from 0 to 1."""
        first = _shares(self)
        return first if self.last is None else first.lerp(_shares(self.last), progress)


def _shares(priors: Priors) -> Tensor:
    values = torch.tensor([priors.forward, priors.teacher, priors.student], dtype=torch.float64)
    return values / values.sum()


@dataclass(frozen=True)
class Grid:
    """Where a method trains and how its student is sampled.

    Args:
        trained: timesteps at which updates happen, falling.
        steps: those of the student's own sampling, a part of them.
        sampler: how the student is sampled.
    """

    trained: Sequence[int]
    steps: Sequence[int]
    sampler: Sampler


@dataclass(frozen=True)
class Batch:
    """What an update trains on.

    Args:
        conditioning: of each row's prompt, each tensor [n, ...].
        sources: int64 [n], where each row is from: an index in `SOURCES`.
    """

    states: Rows
    conditioning: Conditioning
    sources: Tensor


@dataclass
class StateSource:
    """Draws the states of an update.

    Args:
        teacher: guided and thresholded as it is asked in the method itself.
        student: as it is sampled.
        teacher_steps: timesteps of the teacher's rollout; states at timesteps of the grid are kept.
        rollout_rows: rows of one rollout.
        device: of the networks; data and buffers stay in main memory.
    """

    schedule: NoiseSchedule
    grid: Grid
    data: Data
    teacher: Denoising
    student: Denoising
    priors: Priors = field(default_factory=Priors)
    bounds: Bounds = field(default_factory=Bounds)
    teacher_steps: Sequence[int] = ()
    rollout_rows: int = 64
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def __post_init__(self) -> None:
        self.buffers = {name: ReplayBuffer(self.bounds) for name in SOURCES[1:]}
        self.teacher_steps = self.teacher_steps or self.grid.trained
        if not set(self.teacher_steps) & set(self.grid.trained):
            raise ValueError("The teacher's rollout meets none of the timesteps at which the student is trained.")

    def draw(self, count: int, update: int, progress: float, draws: Draws) -> Batch:
        """`count` rows for this process; noised data is the same however many processes share it."""
        total = count * draws.processes
        everywhere = torch.multinomial(self.priors.at(progress), total, replacement=True, generator=draws.shared)
        everywhere = everywhere.sort().values
        sources = draws.mine(everywhere)
        forward = int((everywhere == 0).sum())
        drawn = (
            [self._forward(forward, draws.shared)[torch.arange(draws.rank, forward, draws.processes)]]
            if forward
            else []
        )
        for index, name in enumerate(SOURCES[1:], start=1):
            if wanted := int((sources == index).sum()):
                drawn.append(self._replayed(name, wanted, update, draws.own))
        states = Rows.joined(drawn)
        return Batch(states.to(self.device), self._conditioning(states.prompts), sources)

    def _conditioning(self, prompts: Tensor) -> Conditioning:
        return {name: value.to(self.device) for name, value in self.data.conditioning(prompts).items()}

    def _forward(self, count: int, generator: torch.Generator) -> Rows:
        x0, prompts = self.data.draw(count, generator)
        trained = torch.tensor(self.grid.trained)
        timesteps = trained[torch.randint(0, len(trained), (count,), generator=generator)]
        noise = torch.randn(x0.shape, generator=generator).to(x0)
        return Rows(self.schedule.add_noise(x0, timesteps, noise), timesteps, prompts)

    def _replayed(self, name: str, count: int, update: int, generator: torch.Generator) -> Rows:
        buffer = self.buffers[name]
        if (rows := buffer.take(count, update, generator)) is None:
            make = self._teacher_states if name == "teacher" else self._student_states
            buffer.add(self._rolled_out(make, max(count, self.rollout_rows), generator), update)
            rows = buffer.take(count, update, generator)
        if rows is None:
            raise ValueError(
                f"An update wants {count} states of the {name}, but the replay buffer holds {buffer.capacity}; "
                "allow it more entries or megabytes."
            )
        return rows

    @torch.no_grad()
    def _rolled_out(self, make: _Rollout, count: int, generator: torch.Generator) -> Rows:
        prompts = self.data.draw_prompts(count, generator)
        noise = torch.randn(count, *self.data.shape, generator=generator).to(self.device)
        met = make(noise, self._conditioning(prompts), generator)
        rows = Rows.joined([Rows(z.cpu(), torch.full((count,), timestep), prompts) for z, timestep in met])
        # In no order: a buffer that holds fewer drops the oldest, which were all those of the first steps.
        return rows[torch.randperm(len(rows), generator=generator)]

    def _teacher_states(
        self, noise: Tensor, conditioning: Conditioning, generator: torch.Generator
    ) -> list[tuple[Tensor, int]]:
        trained, wanted = set(self.grid.trained), min(set(self.teacher_steps) & set(self.grid.trained))
        until = [timestep for timestep in self.teacher_steps if timestep >= wanted]
        met = states(self.teacher, self.schedule, until, noise, conditioning, generator)
        return [(z, timestep) for z, timestep in met if timestep in trained]

    def _student_states(
        self, noise: Tensor, conditioning: Conditioning, generator: torch.Generator
    ) -> list[tuple[Tensor, int]]:
        timesteps, sampler = self._student_timesteps(generator), self.grid.sampler
        return list(states(self.student, self.schedule, timesteps, noise, conditioning, generator, sampler))

    def _student_timesteps(self, generator: torch.Generator) -> list[int]:
        """Its own, or, where it is trained between them too, one trained timestep of each part that they bound.

        A consistency target is taken a little below a state: a student that meets the states of its own steps alone
        is never told what to say there, and drifts.
        """
        chosen = [self.grid.steps[0]]
        for above, lowest in pairwise((*self.grid.steps, 0)):
            part = [timestep for timestep in self.grid.trained if lowest <= timestep < above]
            if part:
                chosen.append(part[int(torch.randint(0, len(part), (), generator=generator))])
        return chosen

    def state_dict(self) -> dict[str, object]:
        """Both buffers, for a checkpoint."""
        return {name: buffer.state_dict() for name, buffer in self.buffers.items()}

    def load_state_dict(self, state: dict[str, dict[str, Tensor]]) -> None:
        """As they were when `state_dict` was asked."""
        for name, buffer in self.buffers.items():
            buffer.load_state_dict(state[name])
