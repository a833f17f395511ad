"""A card with memory of its own, played in RAM: what is copied to it or from it arrives as late as it may."""

from __future__ import annotations

from collections.abc import Callable

import torch


class DeferredLane:
    """Makes copies only when somebody waits for them, so that whoever forgets to wait sees the old values."""

    def __init__(self) -> None:
        self._asked: list[tuple[torch.Tensor, torch.Tensor]] = []
        self._made = 0

    def serves(self, device: torch.device) -> bool:
        return True

    def in_ram(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor

    def begin(self) -> None:
        pass

    def copy(self, target: torch.Tensor, source: torch.Tensor) -> None:
        self._asked.append((target, source))

    def mark(self) -> Callable[[], None]:
        end = self._made + len(self._asked)
        return lambda: self._make(end)

    def finish(self) -> None:
        self._make(self._made + len(self._asked))

    @torch.no_grad()
    def _make(self, end: int) -> None:
        while self._made < end:
            target, source = self._asked.pop(0)
            target.copy_(source)
            self._made += 1
