"""One generation at a time, and what the page says when one fails."""

from __future__ import annotations

import functools
import html
import time
from collections.abc import Callable
from typing import Any

from modules import errors, fifo_lock, flavour_server, progress, shared

queue_lock = fifo_lock.FIFOLock()


def wrap_queued_call(func: Callable[..., Any]) -> Callable[..., Any]:
    """The function, under the lock."""

    @functools.wraps(func)
    def queued(*args: Any, **kwargs: Any) -> Any:
        with queue_lock:
            return func(*args, **kwargs)

    return queued


def wrap_gradio_gpu_call(func: Callable[..., Any], extra_outputs: list[Any] | None = None) -> Callable[..., Any]:
    """A job of the page, under the lock. Where it fails the last output is `<div class='error'>` and says so."""

    @functools.wraps(func)
    def job(id_task: str, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        started = time.perf_counter()
        progress.add_task_to_queue(id_task)
        with queue_lock:
            progress.start_task(id_task)
            shared.state.begin(job=id_task)
            try:
                *outputs, log = func(id_task, *args, **kwargs)
            except Exception as fault:
                errors.report(f"The generation {id_task} failed", exc_info=True)
                outputs, log = list(extra_outputs or ()), _as_line(flavour_server.told(fault))
            finally:
                progress.finish_task(id_task)
                shared.state.end()
        return *outputs, f"{log}<p class='time'>Time taken: {time.perf_counter() - started:.1f} s</p>"

    return job


def _as_line(fault: Exception) -> str:
    return f"<div class='error'>{html.escape(f'{type(fault).__name__}: {fault}')}</div>"
