"""A lock that is given in the order in which it was asked for."""

from __future__ import annotations

import threading
from collections import deque
from types import TracebackType


class FIFOLock:
    """Whoever waits has a lock of their own in the row, held until it is their turn."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._is_held = False
        self._row: deque[threading.Lock] = deque()

    def acquire(self, blocking: bool = True) -> bool:
        with self._guard:
            if not self._is_held:
                self._is_held = True
                return True
            if not blocking:
                return False
            turn = threading.Lock()
            turn.acquire()
            self._row.append(turn)
        return turn.acquire()  # given by `release`, which leaves this lock held

    def release(self) -> None:
        with self._guard:
            if self._row:
                self._row.popleft().release()
            else:
                self._is_held = False

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self.release()
