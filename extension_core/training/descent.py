"""One update after the other: states are drawn, a method's losses descended, in an order that a seed decides."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from extension_core.errors import DiversityError
from extension_core.training.draws import Draws
from extension_core.training.methods.method import Method
from extension_core.training.states import Batch

MakeOptimizer = Callable[[str, nn.Module], torch.optim.Optimizer]
"""The optimizer of a method's module, by the name that the method gives it."""


@dataclass(frozen=True)
class Course:
    """How long, from which random numbers.

    Args:
        batch: rows of one draw in one process.
        accumulate: draws whose gradients make one update.
        rate: factor on every learning rate at an update.
        rank: of this process among `processes`.
    """

    updates: int
    batch: int
    accumulate: int = 1
    seed: int = 0
    clip: float = 10.0
    rate: Callable[[int], float] = lambda update: 1.0
    rank: int = 0
    processes: int = 1


class Source(Protocol):
    """Where the states of an update come from."""

    def draw(self, count: int, update: int, progress: float, draws: Draws) -> Batch: ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class Stepping(Protocol):
    """How gradients are made and used: with mixed precision, on several devices."""

    def backward(self, value: Tensor) -> None:
        """Add the gradients of a scalar."""
        ...

    def step(self, optimizers: Sequence[torch.optim.Optimizer], clip: float) -> None:
        """One step of each along its gradients, whose norm is at most `clip`."""
        ...


class PlainStepping:
    """One process, full precision."""

    def backward(self, value: Tensor) -> None:
        """As torch does."""
        value.backward()  # pyright: ignore[reportUnknownMemberType]

    def step(self, optimizers: Sequence[torch.optim.Optimizer], clip: float) -> None:
        """As torch does."""
        for optimizer in optimizers:
            nn.utils.clip_grad_norm_(parameters_of(optimizer), clip)
            optimizer.step()


def parameters_of(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    """Everything that it changes."""
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


class Descent:
    """A method with its optimizers. Everything that the next update depends on is in `state_dict`."""

    def __init__(
        self,
        method: Method,
        source: Source,
        course: Course,
        make_optimizer: MakeOptimizer,
        stepping: Stepping | None = None,
    ) -> None:
        self.method, self.source, self.course = method, source, course
        self.optimizers = {name: make_optimizer(name, module) for name, module in method.trained.items()}
        self._rates = {name: [group["lr"] for group in made.param_groups] for name, made in self.optimizers.items()}
        self._stepping = stepping or PlainStepping()

    def update(self, update: int) -> dict[str, float]:
        """Make one; the mean losses of this process by module.

        Raises:
            DiversityError: a loss is no number. No network has been changed.
        """
        course = self.course
        draws = Draws.of_update(course.seed, update, course.rank, course.processes)
        for optimizer in self.optimizers.values():
            optimizer.zero_grad()
        seen: dict[str, float] = {}
        for _ in range(course.accumulate):
            batch = self.source.draw(course.batch, update, update / max(1, course.updates - 1), draws)
            for module, value in self.method.losses(batch.states, batch.conditioning, update, draws):
                seen[module] = seen.get(module, 0.0) + _checked(module, value, update) / course.accumulate
                self._stepping.backward(value / course.accumulate)
        for module in seen:
            for group, full in zip(self.optimizers[module].param_groups, self._rates[module], strict=True):
                group["lr"] = full * course.rate(update)
        self._stepping.step([self.optimizers[module] for module in seen], course.clip)
        return seen

    def state_dict(self) -> dict[str, Any]:
        """What is trained, the optimizers and the states that wait in the buffers."""
        return {
            "networks": {name: trained_state(module) for name, module in self.method.trained.items()},
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()},
            "states": self.source.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """As it was when `state_dict` was asked."""
        for name, module in self.method.trained.items():
            load_trained_state(module, state["networks"][name])
            self.optimizers[name].load_state_dict(state["optimizers"][name])
        self.source.load_state_dict(state["states"])


def trained_state(module: nn.Module) -> dict[str, Tensor]:
    """The parameters of a module that are trained: those of its LoRA, or all."""
    return {name: parameter.detach() for name, parameter in module.named_parameters() if parameter.requires_grad}


@torch.no_grad()
def load_trained_state(module: nn.Module, state: dict[str, Tensor]) -> None:
    """Put `trained_state` back.

    Raises:
        DiversityError: it is that of another module.
    """
    own = trained_state(module)
    if {name: value.shape for name, value in own.items()} != {name: value.shape for name, value in state.items()}:
        raise DiversityError(
            f"The saved state holds {len(state)} trained parameters and this training has {len(own)} others; resume "
            "with the configuration of before, or name another folder in out."
        )
    for name, value in own.items():
        value.copy_(state[name])


def _checked(module: str, value: Tensor, update: int) -> float:
    found = value.item()
    if not math.isfinite(found):
        raise DiversityError(
            f"The loss of the {module} is {found} at update {update}; lower the learning rate and resume from the last "
            "checkpoint."
        )
    return found
