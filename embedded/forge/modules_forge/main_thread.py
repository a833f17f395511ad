"""The page's generations, one after another in the thread that calls `loop`: the process's main one.

What torch keeps for each thread (inference mode, the device in use) is therefore not what gradio's threads and the
API's have.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

PERIOD = 0.01
"""Seconds between two looks at the lists."""
lock = threading.Lock()
last_id = 0
waiting_list: list[Task] = []
finished_list: list[Task] = []
last_exception: Exception | None = None
"""Of the last task, None where that went well; it stays until a later task goes well."""


@dataclass(eq=False)
class Task:
    task_id: int
    func: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    result: Any = None
    exception: Exception | None = None

    def work(self) -> None:
        """Keeps what the function raises; what is no Exception ends the loop, and with it the process."""
        global last_exception
        try:
            self.result = self.func(*self.args, **self.kwargs)
        except Exception as fault:
            traceback.print_exc()
            self.exception = fault
        last_exception = self.exception


def loop(*, goes_on: Callable[[], bool] = lambda: True) -> None:
    while goes_on():
        time.sleep(PERIOD)
        if waiting_list:
            with lock:
                task = waiting_list.pop(0)
            task.work()
            with lock:
                finished_list.append(task)


def async_run(func: Callable[..., Any], *args: Any, **kwargs: Any) -> int:
    """Number of the task, which waits for its turn."""
    global last_id
    with lock:
        last_id += 1
        waiting_list.append(Task(last_id, func, args, kwargs))
        return last_id


def run_and_wait_result(func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """What the function returns; None where it raised, which `last_exception` tells."""
    number = async_run(func, *args, **kwargs)
    while True:
        time.sleep(PERIOD)
        done = next((task for task in list(finished_list) if task.task_id == number), None)
        if done is not None:
            with lock:
                finished_list.remove(done)
            return done.result
