"""Random numbers of an update, the same however many processes share its rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


def seeded(*numbers: int) -> torch.Generator:
    """A generator that is a function of all these numbers; torch's takes 32 bits, so they are mixed into as many."""
    return torch.Generator().manual_seed(int(np.random.SeedSequence(numbers).generate_state(1)[0]))


@dataclass(frozen=True)
class Draws:
    """Every process draws for the whole batch and keeps its rows, so that several train on what a single one would.

    Args:
        shared: in the same state in every process.
        own: of this process, for what only its own rows need; the same as `shared` where there is one process.
    """

    shared: torch.Generator
    own: torch.Generator
    rank: int = 0
    processes: int = 1

    @classmethod
    def alone(cls, generator: torch.Generator) -> Draws:
        """Of a single process."""
        return cls(generator, generator)

    @classmethod
    def of_update(cls, seed: int, update: int, rank: int = 0, processes: int = 1) -> Draws:
        """A function of these numbers alone: a run that was resumed draws the same."""
        shared = seeded(seed, update)
        return cls(shared, shared if processes == 1 else seeded(seed, update, rank), rank, processes)

    def mine(self, rows: Tensor) -> Tensor:
        """The rows [n, ...] of this process out of everybody's [n x processes, ...]."""
        return rows[self.rank :: self.processes]

    def normal(self, like: Tensor) -> Tensor:
        """Standard normal noise as large as `like` [n, ...] and of its kind."""
        shape = (len(like) * self.processes, *like.shape[1:])
        return self.mine(torch.randn(shape, generator=self.shared)).to(like)

    def uniform(self, rows: int) -> Tensor:
        """[rows], from 0 to below 1."""
        return self.mine(torch.rand(rows * self.processes, generator=self.shared))

    def integers(self, lowest: int, above: int, rows: int) -> Tensor:
        """int64 [rows], from `lowest` to below `above`."""
        return self.mine(torch.randint(lowest, above, (rows * self.processes,), generator=self.shared))
