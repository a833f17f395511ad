"""Named stretches of time, summed for the lines "Startup time:" and "Model loaded in"."""

from __future__ import annotations

import time


class Timer:
    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self._marks: list[tuple[str, float]] = [("", time.perf_counter())]

    def record(self, category: str) -> None:
        """What took from the last mark until now."""
        self._marks.append((category, time.perf_counter()))

    def summary(self) -> str:
        """The whole time, and what took a tenth of a second or more."""
        took: dict[str, float] = {}
        for (_, begun), (category, ended) in zip(self._marks, self._marks[1:]):
            took[category] = took.get(category, 0.0) + ended - begun
        slow = [f"{category}: {seconds:.1f}s" for category, seconds in took.items() if seconds >= 0.1]
        return f"{sum(took.values()):.1f}s" + (f" ({', '.join(slow)})" if slow else "")


startup_timer = Timer()
