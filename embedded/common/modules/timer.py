"""Named stretches of time, summed for the lines "Startup time:" and "Model loaded in"."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Timer:
    def __init__(self, print_log: bool = False) -> None:
        del print_log
        self.reset()

    def reset(self) -> None:
        self.start = self.last = time.perf_counter()
        self.records: dict[str, float] = {}

    @property
    def total(self) -> float:
        return self.last - self.start

    def record(self, category: str, extra_time: float = 0, disable_log: bool = False) -> None:
        del disable_log
        now = time.perf_counter()
        self.records[category] = self.records.get(category, 0.0) + now - self.last + extra_time
        self.last = now

    @contextmanager
    def subcategory(self, name: str) -> Iterator[None]:
        yield
        self.record(name)

    def summary(self) -> str:
        parts = sorted(((t, k) for k, t in self.records.items() if t >= 0.1), reverse=True)
        details = ", ".join(f"{k}: {t:.1f}s" for t, k in parts)
        return f"{self.total:.1f}s" + (f" ({details})" if details else "")

    def dump(self) -> dict[str, Any]:
        return {"total": self.total, "records": self.records}


startup_timer = Timer()
startup_record: dict[str, Any] | None = None
