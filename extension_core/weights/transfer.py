"""Exchanging values on an accelerator with values in RAM, in order, while the accelerator computes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

import torch

# Backends whose copies can run beside the computing, from and to page-locked memory.
_WITH_STREAMS = ("cuda", "xpu")


class Copies(Protocol):
    """Copies that are made one after the other, perhaps later than they are asked for."""

    def serves(self, device: torch.device) -> bool:
        """Whether values on this device are exchanged by copying; else both sets are in RAM and pointers will do."""
        ...

    def in_ram(self, tensor: torch.Tensor) -> torch.Tensor:
        """A tensor's values [...] in RAM, in memory that copies well from here; the tensor itself if it is there."""
        ...

    def begin(self) -> None:
        """Copies asked for from now on come after everything that has been computed so far."""
        ...

    def copy(self, target: torch.Tensor, source: torch.Tensor) -> None:
        """Ask for a copy of `source` [...] into `target`, of the same shape and number type."""
        ...

    def mark(self) -> Callable[[], None] | None:
        """A function; what is computed after its call comes after the copies so far. None if they are made already."""
        ...

    def finish(self) -> None:
        """Wait for every copy."""
        ...


class DirectCopies:
    """Copies at once."""

    def serves(self, device: torch.device) -> bool:
        """Any accelerator."""
        return device.type != "cpu"

    def in_ram(self, tensor: torch.Tensor) -> torch.Tensor:
        """Any memory will do for values [...]."""
        return tensor.to("cpu")

    def begin(self) -> None:
        """Nothing."""

    def copy(self, target: torch.Tensor, source: torch.Tensor) -> None:
        """As `Copies`, now: [...] to [...]."""
        target.copy_(source)

    def mark(self) -> Callable[[], None] | None:
        """Nothing to wait for."""
        return None

    def finish(self) -> None:
        """Nothing."""


class StreamCopies(DirectCopies):
    """Copies on a stream of its own."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._backend: Any = getattr(torch, device.type)
        self._stream = self._backend.Stream(device)
        self._locks_pages = True

    def in_ram(self, tensor: torch.Tensor) -> torch.Tensor:
        """Values [...] page-locked, to and from which copies run beside the computing, as far as the system grants."""
        there = tensor.device.type == "cpu"
        if there and (tensor.is_pinned() or not self._locks_pages):
            return tensor
        if self._locks_pages:
            try:
                return torch.empty_like(tensor, device="cpu", pin_memory=True).copy_(tensor)
            except RuntimeError:  # systems limit page-locked memory; the copies are slower without
                self._locks_pages = False
        return tensor if there else tensor.to("cpu")

    def begin(self) -> None:
        """As `Copies`."""
        self._stream.wait_stream(self._backend.current_stream(self._device))

    def copy(self, target: torch.Tensor, source: torch.Tensor) -> None:
        """As `Copies`: [...] to [...], later."""
        with self._backend.stream(self._stream):
            target.copy_(source, non_blocking=True)

    def mark(self) -> Callable[[], None]:
        """As `Copies`."""
        event = self._stream.record_event()
        return lambda: self._backend.current_stream(self._device).wait_event(event)

    def finish(self) -> None:
        """As `Copies`."""
        self._stream.synchronize()


def copies_for(device: torch.device) -> Copies:
    """The way between RAM and a device."""
    return StreamCopies(device) if device.type in _WITH_STREAMS else DirectCopies()


class Exchange:
    """Exchanges tensors on an accelerator with tensors in RAM, taking no memory on the accelerator.

    Each exchange leaves its RAM free for the next one of the same shape, so one spare a shape is all it needs.
    """

    def __init__(self, copies: Copies) -> None:
        self.copies = copies
        self._spares: dict[tuple[torch.Size, torch.dtype], torch.Tensor] = {}

    def reserve(self, tensors: Iterable[torch.Tensor]) -> None:
        """Take the memory for exchanging such tensors [...], so that `exchange` cannot fail for want of it."""
        for tensor in tensors:
            key = (tensor.shape, tensor.dtype)
            if key not in self._spares:
                self._spares[key] = self.copies.in_ram(torch.empty_like(tensor, device="cpu"))

    def exchange(self, live: torch.Tensor, waiting: torch.Tensor) -> torch.Tensor:
        """Put the waiting values [...] in the live tensor's memory; returns what takes the live ones to RAM."""
        key = (live.shape, live.dtype)
        leaving = self._spares[key]
        self.copies.copy(leaving, live)
        self.copies.copy(live, waiting)
        self._spares[key] = waiting
        return leaving
