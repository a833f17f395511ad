"""Threads that decode beside the one that samples, and the pictures, curves and files that they make."""

from __future__ import annotations

import contextlib
import itertools
import os
import queue
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

from extension_core.errors import DiversityError

T = TypeVar("T")
_Item = tuple[int, int, "Future[Any]", Callable[[], Any]]

SOON, LATER = 0, 1
_NICE = 10


class Busy(DiversityError):
    """More is asked for than a thread will get to."""


class Worker:
    """One daemon thread, started with its first job; what is asked for `SOON` goes before what may wait.

    Args:
        waiting: how many jobs may wait.
    """

    def __init__(self, name: str, waiting: int) -> None:
        self.name = name
        self._waiting = waiting
        self._jobs: queue.PriorityQueue[_Item] = queue.PriorityQueue()
        self._order = itertools.count()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def submit(self, job: Callable[[], T], priority: int = SOON) -> Future[T]:
        """Have a job done. A future that is cancelled before its turn costs nothing.

        Raises:
            Busy: too many wait.
        """
        if self._jobs.qsize() >= self._waiting:
            raise Busy("More frames are asked for than can be decoded; ask again in a moment.")
        future: Future[T] = Future()
        self._jobs.put((priority, next(self._order), future, job))
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)
                self._thread.start()
        return future

    def give_way(self) -> None:
        """For a long job: do now what was asked for `SOON`."""
        while True:
            try:
                item = self._jobs.get_nowait()
            except queue.Empty:
                return
            if item[0] != SOON:
                self._jobs.put(item)
                return
            _do(item)

    def _run(self) -> None:
        _be_nice()
        while True:
            item = self._jobs.get()
            _do(item)
            del item  # a job holds on to its generation


def _do(item: _Item) -> None:
    _, _, future, job = item
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(job())
    except BaseException as error:  # noqa: BLE001 - whoever waits for it is told
        future.set_exception(error)


def _be_nice() -> None:
    """Sampling on the CPU goes before; on Linux alone a thread has a priority, which those of its operators inherit."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)


class Once(Generic[T]):
    """Jobs by key: asked for again while one is under way, or not fetched yet, it is not done twice.

    Args:
        keeps: seconds for which an answer that nobody fetched is kept.
    """

    def __init__(self, worker: Worker, keeps: float = 60.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._worker, self._keeps, self._clock = worker, keeps, clock
        self._lock = threading.Lock()
        self._under_way: dict[Hashable, Future[T]] = {}
        self._done: deque[tuple[float, Hashable, Future[T]]] = deque()

    def ask(self, key: Hashable, job: Callable[[], T], priority: int = SOON) -> Future[T]:
        """The job of this key.

        Raises:
            Busy: too many wait.
        """
        with self._lock:
            self._forget_the_old()
            if key not in self._under_way:
                future = self._worker.submit(job, priority)
                self._under_way[key] = future
                future.add_done_callback(lambda done: self._done.append((self._clock(), key, done)))
            return self._under_way[key]

    def fetched(self, key: Hashable, future: Future[T]) -> None:
        """Its answer was sent; asked for again, it is done anew."""
        with self._lock:
            self._drop(key, future)

    def _forget_the_old(self) -> None:
        while self._done and self._clock() - self._done[0][0] >= self._keeps:
            _, key, future = self._done.popleft()
            self._drop(key, future)

    def _drop(self, key: Hashable, future: Future[T]) -> None:
        if self._under_way.get(key) is future:
            del self._under_way[key]


# Process-wide on purpose: "Reload UI" makes new routes, not new threads.
PICTURES = Worker("diversity-distillation pictures", waiting=512)
FULL_SIZE = Worker("diversity-distillation full size", waiting=64)
