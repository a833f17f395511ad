"""States of pictures of several sizes: an update takes all of its rows from one size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from extension_core.training.denoiser import Conditioning
from extension_core.training.draws import Draws
from extension_core.training.states import Batch, Data, StateSource


class BucketedSource:
    """A source for each size, chosen as often as there are pictures of it.

    Args:
        weights: one for each source, above 0.
    """

    def __init__(self, sources: Sequence[StateSource], weights: Sequence[float]) -> None:
        self.sources, self._weights = list(sources), torch.tensor(weights, dtype=torch.float64)

    def draw(self, count: int, update: int, progress: float, draws: Draws) -> Batch:
        """`count` rows for this process, all of one size."""
        return self.sources[_chosen(self._weights, draws)].draw(count, update, progress, draws)

    def state_dict(self) -> dict[str, Any]:
        """The buffers of every size."""
        return {str(index): source.state_dict() for index, source in enumerate(self.sources)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """As they were when `state_dict` was asked."""
        for index, source in enumerate(self.sources):
            source.load_state_dict(state[str(index)])


class BucketedImages:
    """Real images for an adversary, [count, C, h, w] of one size, on a device."""

    def __init__(self, data: Sequence[Data], weights: Sequence[float], device: torch.device) -> None:
        self._data, self._weights, self._device = list(data), torch.tensor(weights, dtype=torch.float64), device

    def __call__(self, count: int, draws: Draws) -> tuple[Tensor, Conditioning]:
        data = self._data[_chosen(self._weights, draws)]
        x0, prompts = data.draw(count * draws.processes, draws.shared)
        told = data.conditioning(draws.mine(prompts))
        return draws.mine(x0).to(self._device), {name: value.to(self._device) for name, value in told.items()}


def _chosen(weights: Tensor, draws: Draws) -> int:
    return int(torch.multinomial(weights, 1, generator=draws.shared))
