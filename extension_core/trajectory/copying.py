"""Copies from an accelerator to RAM that nobody waits for until somebody reads them."""

from __future__ import annotations

from threading import Lock
from typing import Any, Protocol

import torch

# Backends that copy to page-locked memory beside the computing and tell by an event when they have.
_WITH_EVENTS = ("cuda", "xpu")


class Event(Protocol):
    """The moment at which a copy is there, as `torch.cuda.Event`."""

    def query(self) -> bool:
        """Whether it has come."""
        ...

    def synchronize(self) -> None:
        """Wait for it."""
        ...


class Copier(Protocol):
    """A way to RAM."""

    def copy(self, source: torch.Tensor) -> tuple[torch.Tensor, Event | None]:
        """Memory [...] in RAM with the source's present values once the event has come; None: it has them already.

        Whatever is computed after the call may overwrite or free the source.
        """
        ...


class DirectCopier:
    """Copies at once; for the CPU, and for backends whose late copies cannot be trusted or waited for."""

    def copy(self, source: torch.Tensor) -> tuple[torch.Tensor, Event | None]:
        """As `Copier`: [...] to [...]."""
        with torch.inference_mode(False), torch.no_grad():
            return source.to("cpu", copy=True), None


class EventCopier:
    """Asks for the copy on the stream that computes, after what it has been asked for.

    On that stream the copy comes before any later work that overwrites the source, in place or after its memory was
    freed, so no reference to it is held. A stream of its own would have to guard both; a latent is copied in
    microseconds.

    Args:
        backend: the device's module of torch, e.g. `torch.cuda`; None: by the device's type.
    """

    def __init__(self, device: torch.device, backend: Any = None) -> None:
        self._device = device
        self._backend: Any = backend or getattr(torch, device.type)

    def copy(self, source: torch.Tensor) -> tuple[torch.Tensor, Event | None]:
        """As `Copier`: [...] to [...]."""
        target = _page_locked(source)
        target.copy_(source.detach(), non_blocking=True)
        event = self._backend.Event()
        event.record(self._backend.current_stream(self._device))
        return target, event


def copier_for(device: torch.device) -> Copier:
    """The way to RAM from a device."""
    return EventCopier(device) if device.type in _WITH_EVENTS else DirectCopier()


def _page_locked(source: torch.Tensor) -> torch.Tensor:
    try:
        return torch.empty(source.shape, dtype=source.dtype, device="cpu", pin_memory=True)
    except RuntimeError:  # systems limit page-locked memory; the copy then takes until it is made
        return torch.empty(source.shape, dtype=source.dtype, device="cpu")


class Arrival:
    """Values on their way to RAM; any thread may ask for them.

    They land in page-locked memory, which torch never gives back to the system, and are moved to ordinary memory, and
    to `dtype`, once they are there. So page-locked memory is taken for the few copies under way, not for a recording.
    """

    def __init__(self, source: torch.Tensor, copier: Copier, dtype: torch.dtype) -> None:
        self._dtype = dtype
        self._lock = Lock()
        self._values, self._event = copier.copy(source)
        self._settled = False
        if self._event is None:
            self._settle()

    @property
    def nbytes(self) -> int:
        """Bytes held now."""
        return self._values.numel() * self._values.element_size()

    def try_settle(self) -> bool:
        """Move the values to ordinary memory if they are there, never waiting or raising; returns whether they are."""
        if self._settled or not self._lock.acquire(blocking=False):
            return self._settled
        try:
            if not self._settled and (self._event is None or self._event.query()):
                self._settle()
        except (RuntimeError, MemoryError):  # no memory now; whoever reads will be told if there is none then
            return False
        finally:
            self._lock.release()
        return self._settled

    def values(self) -> torch.Tensor:
        """The values [...] in RAM, waited for if need be; not to be written to.

        Raises:
            RuntimeError: the copy failed, or there is no memory for it.
        """
        with self._lock:
            if not self._settled:
                if self._event is not None:
                    self._event.synchronize()
                self._settle()
            return self._values

    def _settle(self) -> None:
        # Hosts sample in inference mode; a decoder in another thread may not be in it.
        with torch.inference_mode(False), torch.no_grad():
            if self._event is not None or self._values.dtype != self._dtype:
                self._values = self._values.to(self._dtype, copy=True)
        self._event = None
        self._settled = True
