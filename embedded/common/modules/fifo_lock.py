"""A lock that is given in the order in which it was asked for."""

from __future__ import annotations

import threading
from collections import deque
from typing import Any


class FIFOLock:
    """Whoever holds it is first in the row; whoever waits has a lock of their own, held until their turn."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._row: deque[threading.Lock] = deque()

    def acquire(self, blocking: bool = True) -> bool:
        turn = threading.Lock()
        with self._guard:
            if self._row and not blocking:
                return False
            if self._row:
                turn.acquire()
            self._row.append(turn)
        return turn.acquire()

    def release(self) -> None:
        with self._guard:
            self._row.popleft()
            if self._row:
                self._row[0].release()

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *fault: Any) -> None:
        self.release()
