"""One update after the other: states are drawn, a method's losses descended, in an order that a seed decides."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from extension_core.errors import DiversityError
from extension_core.training.methods.method import Method
from extension_core.training.states import StateSource

MakeOptimizer = Callable[[str, nn.Module], torch.optim.Optimizer]
"""The optimizer of a method's module, by the name that the method gives it."""


@dataclass(frozen=True)
class Course:
    """How long, from which random numbers.

    Args:
        rate: factor on every learning rate at an update.
    """

    updates: int
    batch: int
    seed: int = 0
    clip: float = 10.0
    rate: Callable[[int], float] = lambda update: 1.0

    def generator(self, update: int) -> torch.Generator:
        """Random numbers of one update, a function of seed and update alone: a run that was resumed draws the same."""
        # The generator takes 32 bits of its seed, so both numbers are mixed into as many.
        return torch.Generator().manual_seed(int(np.random.SeedSequence((self.seed, update)).generate_state(1)[0]))


class Descent:
    """A method with its optimizers. Everything that the next update depends on is in `state_dict`.

    Args:
        backward: what takes a loss back through the networks (accelerate's, where several processes share the work).
    """

    def __init__(
        self,
        method: Method,
        source: StateSource,
        course: Course,
        make_optimizer: MakeOptimizer,
        backward: Callable[[Tensor], None] | None = None,
    ) -> None:
        self.method, self.source, self.course = method, source, course
        self.optimizers = {name: make_optimizer(name, module) for name, module in method.trained.items()}
        self._rates = {name: [group["lr"] for group in made.param_groups] for name, made in self.optimizers.items()}
        self._backward = backward or _backward

    def update(self, update: int) -> dict[str, float]:
        """Make one; the losses by module.

        Raises:
            DiversityError: a loss is no number. It is not descended; earlier losses of the same update have been.
        """
        course, generator = self.course, self.course.generator(update)
        states, _ = self.source.draw(course.batch, update, update / max(1, course.updates - 1), generator)
        conditioning = self.source.data.conditioning(states.prompts)
        seen: dict[str, float] = {}
        for module, value in self.method.losses(states, conditioning, update, generator):
            seen[module] = value.item()
            if not math.isfinite(seen[module]):
                raise DiversityError(
                    f"The loss of the {module} is {seen[module]} at update {update}; lower the learning rate and "
                    "resume from the last checkpoint."
                )
            self._descend(module, value, course.rate(update))
        return seen

    def _descend(self, module: str, value: Tensor, rate: float) -> None:
        optimizer = self.optimizers[module]
        for group, full in zip(optimizer.param_groups, self._rates[module], strict=True):
            group["lr"] = full * rate
        optimizer.zero_grad()
        self._backward(value)
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        nn.utils.clip_grad_norm_(parameters, self.course.clip)
        optimizer.step()

    def state_dict(self) -> dict[str, Any]:
        """Networks, optimizers and the states that wait in the buffers."""
        return {
            "networks": {name: module.state_dict() for name, module in self.method.trained.items()},
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()},
            "states": self.source.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """As it was when `state_dict` was asked."""
        for name, module in self.method.trained.items():
            module.load_state_dict(state["networks"][name])
            self.optimizers[name].load_state_dict(state["optimizers"][name])
        self.source.load_state_dict(state["states"])


def _backward(value: Tensor) -> None:
    value.backward()  # pyright: ignore[reportUnknownMemberType]
