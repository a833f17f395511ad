"""Two clocks read together, and sums of what they showed."""

from __future__ import annotations

import ctypes
import gc
import sys
import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Seconds:
    """A duration.

    Attributes:
        wall: as a user waits.
        cpu: processor time of all threads of this process, which other programs do not lengthen.
    """

    wall: float = 0.0
    cpu: float = 0.0

    def __add__(self, other: Seconds) -> Seconds:
        return Seconds(self.wall + other.wall, self.cpu + other.cpu)

    def __sub__(self, other: Seconds) -> Seconds:
        return Seconds(self.wall - other.wall, self.cpu - other.cpu)

    def __truediv__(self, count: int) -> Seconds:
        return Seconds(self.wall / count, self.cpu / count)


class Clock:
    """Starts when made."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def read(self) -> Seconds:
        """Time since the start."""
        return Seconds(time.perf_counter() - self._wall, time.process_time() - self._cpu)


def return_free_memory() -> None:
    """Give the system back what this process has freed, so that no load is faster for what ran before it.

    Filling new pages takes most of a load's time; glibc keeps freed ones for whoever asks next.
    """
    gc.collect()
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)
