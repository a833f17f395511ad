"""What is wished of a run from outside: Ctrl-C, a signal, or a file in its folder; heard between two updates."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType

from extension_core.training.run.folder import RunFolder

_PAUSE = 0.5  # seconds between two looks while paused


class Wishes:
    """Whether the run is to end or to wait."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self.signal: int | None = None

    @property
    def to_stop(self) -> bool:
        """By a signal, or a file called stop."""
        return self.signal is not None or self._folder.asked("stop")

    @property
    def to_pause(self) -> bool:
        """A file called pause is there."""
        return self._folder.asked("pause")

    def wait_while_paused(self, began: Callable[[], None]) -> None:
        """Return when the file is gone or the run is to stop; `began` is called where it is there."""
        if self.to_pause and not self.to_stop:
            began()
        while self.to_pause and not self.to_stop:
            time.sleep(_PAUSE)

    @contextmanager
    def heard(self) -> Generator[None, None, None]:
        """Take signals meanwhile; a second one ends the process at once, as without us."""
        before = {int(number): signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

        def hear(number: int, _frame: FrameType | None) -> None:
            self.signal = number
            signal.signal(number, before[number])

        try:
            for number in before:
                signal.signal(number, hear)
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
