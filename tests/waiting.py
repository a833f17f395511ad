"""Waiting for a state. How long it takes is never judged: the limit is there that a hang ends, and with its reason."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

# Seconds within which comes what comes at all, with every core of the machine busy. Below pytest's limit for a test.
PATIENCE = 300.0
_BETWEEN = 0.05

T = TypeVar("T")


def until(condition: Callable[[], T], waited_for: str | Callable[[], str]) -> T:
    """Ask again and again until the answer is true; returns it.

    Args:
        waited_for: what is said where it never comes.
    """
    end = time.monotonic() + PATIENCE
    while not (answer := condition()):
        if time.monotonic() > end:
            told = waited_for if isinstance(waited_for, str) else waited_for()
            raise AssertionError(f"waited {PATIENCE:g} seconds in vain: {told}")
        time.sleep(_BETWEEN)
    return answer


def joined(thread: threading.Thread) -> None:
    """Wait for a thread's end."""
    thread.join(PATIENCE)
    assert not thread.is_alive(), f"{thread.name} does not end"
