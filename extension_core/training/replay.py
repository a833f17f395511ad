"""States of rollouts, each used several times: what makes the student's own affordable (DAgger's aggregation)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Bounds:
    """What the buffer may hold.

    Args:
        entries: states at most.
        megabytes: memory of their latents at most.
        staleness: age in updates from which a state is dropped: the student that made it is another by then.
        uses: how often one state is trained on.
    """

    entries: int = 4096
    megabytes: float = 1024.0
    staleness: int = 100
    uses: int = 4

    def __post_init__(self) -> None:
        for name in ("entries", "megabytes", "staleness", "uses"):
            if getattr(self, name) <= 0:
                raise ValueError(f"The replay buffer's {name} is {getattr(self, name)}; it must be above 0.")


@dataclass
class Rows:
    """States of equal shape, row by row.

    Args:
        z: [n, ...].
        timesteps: int64 [n].
        prompts: int64 [n], each the index of its prompt.
    """

    z: Tensor
    timesteps: Tensor
    prompts: Tensor

    def __len__(self) -> int:
        return len(self.z)

    def __getitem__(self, rows: Tensor) -> Rows:
        return Rows(self.z[rows], self.timesteps[rows], self.prompts[rows])

    def to(self, device: torch.device) -> Rows:
        """The same on a device."""
        return Rows(self.z.to(device), self.timesteps.to(device), self.prompts.to(device))

    @staticmethod
    def joined(parts: list[Rows]) -> Rows:
        """One after the other."""
        return Rows(
            torch.cat([part.z for part in parts]),
            torch.cat([part.timesteps for part in parts]),
            torch.cat([part.prompts for part in parts]),
        )


class ReplayBuffer:
    """Bounded in entries, bytes, age and uses; what it gives is a function of what it got and of the generator."""

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self._rows: Rows | None = None
        self._born = torch.zeros(0, dtype=torch.long)
        self._uses = torch.zeros(0, dtype=torch.long)

    def __len__(self) -> int:
        return 0 if self._rows is None else len(self._rows)

    @property
    def capacity(self) -> int:
        """How many states of the kind that it holds fit."""
        if self._rows is None:
            return self.bounds.entries
        size = self._rows.z[:1].numel() * self._rows.z.element_size()
        return max(1, min(self.bounds.entries, int(self.bounds.megabytes * 1e6 / size)))

    def add(self, rows: Rows, update: int) -> None:
        """Keep states that were made at this update; where there are too many the oldest go."""
        self._rows = rows if self._rows is None else Rows.joined([self._rows, rows])
        self._born = torch.cat([self._born, torch.full((len(rows),), update)])
        self._uses = torch.cat([self._uses, torch.zeros(len(rows), dtype=torch.long)])
        if (surplus := len(self) - self.capacity) > 0:
            self._keep(torch.arange(len(self)) >= surplus)

    def take(self, count: int, update: int, generator: torch.Generator) -> Rows | None:
        """`count` different states at random, or none where fewer are left that are neither stale nor used up."""
        if self._rows is None:
            return None
        self._keep((update - self._born < self.bounds.staleness) & (self._uses < self.bounds.uses))
        if len(self) < count:
            return None
        chosen = torch.randperm(len(self), generator=generator)[:count]
        self._uses[chosen] += 1
        return self._rows[chosen]

    def state_dict(self) -> dict[str, Any]:
        """Everything, for a checkpoint."""
        kept = {} if self._rows is None else vars(self._rows)
        return {**kept, "born": self._born, "uses": self._uses}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """As it was when `state_dict` was asked."""
        self._born, self._uses = state["born"], state["uses"]
        self._rows = Rows(state["z"], state["timesteps"], state["prompts"]) if "z" in state else None

    def _keep(self, rows: Tensor) -> None:
        assert self._rows is not None
        if not bool(rows.all()):
            self._rows, self._born, self._uses = self._rows[rows], self._born[rows], self._uses[rows]
