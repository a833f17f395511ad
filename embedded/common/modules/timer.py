"""How long something took, for the lines "Startup time:" and "loaded in"."""

from __future__ import annotations

import time


class Timer:
    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self._begun = time.perf_counter()

    def record(self, category: str) -> None:
        """Hosts tell their stages apart."""

    def summary(self) -> str:
        return f"{time.perf_counter() - self._begun:.1f}s"


startup_timer = Timer()
