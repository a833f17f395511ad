"""One generation at a time, and errors of the page's generations as a red line instead of a failed request."""

from __future__ import annotations

import html
import time
from collections.abc import Callable
from functools import wraps
from typing import Any

from modules import devices, errors, fifo_lock, flavour_server, progress, shared

queue_lock = fifo_lock.FIFOLock()


def wrap_queued_call(func: Callable[..., Any]) -> Callable[..., Any]:
    def f(*args: Any, **kwargs: Any) -> Any:
        with queue_lock:
            return func(*args, **kwargs)

    return f


def wrap_gradio_gpu_call(func: Callable[..., Any], extra_outputs: list[Any] | None = None) -> Callable[..., Any]:
    """`func`'s first argument may be a task id "task(...)", under which the page asks for progress."""

    @wraps(func)
    def f(*args: Any, **kwargs: Any) -> Any:
        first = args[0] if args else None
        id_task = first if isinstance(first, str) and first.startswith("task(") and first.endswith(")") else None
        if id_task is not None:
            progress.add_task_to_queue(id_task)
        with queue_lock:
            shared.state.begin(job=id_task or "")
            progress.start_task(id_task)
            try:
                result = func(*args, **kwargs)
                progress.record_results(id_task, result)
            finally:
                progress.finish_task(id_task)
            shared.state.end()
        return result

    return wrap_gradio_call(f, extra_outputs, add_stats=True)


def wrap_gradio_call(
    func: Callable[..., Any], extra_outputs: list[Any] | None = None, add_stats: bool = False
) -> Callable[..., Any]:
    @wraps(func)
    def f(*args: Any, **kwargs: Any) -> Any:
        try:
            return func(*args, **kwargs)
        finally:
            state = shared.state
            state.job, state.job_count = "", 0
            state.skipped = state.interrupted = state.stopping_generation = False

    return wrap_gradio_call_no_job(f, extra_outputs, add_stats)


def _time_taken(seconds: float) -> str:
    minutes = int(seconds // 60)
    text = (f"{minutes} min. " if minutes else "") + f"{seconds % 60:.1f} sec."
    return (
        f"<div class='performance'><p class='time'>Time taken: <wbr><span class='measurement'>{text}</span></p></div>"
    )


def wrap_gradio_call_no_job(
    func: Callable[..., Any], extra_outputs: list[Any] | None = None, add_stats: bool = False
) -> Callable[..., Any]:
    """An exception becomes `<div class='error'>Type: text</div>` in the last output, the others becoming
    `extra_outputs`.
    """

    @wraps(func)
    def f(*args: Any, extra_outputs_array: list[Any] | None = extra_outputs, **kwargs: Any) -> tuple[Any, ...]:
        started = time.perf_counter()
        try:
            shown = list(func(*args, **kwargs))
        except Exception as e:
            errors.report(f"Error completing request\nArguments: {args} {kwargs}"[:131072], exc_info=True)
            fault = flavour_server.told(e)
            blank = [None, ""] if extra_outputs_array is None else extra_outputs_array
            shown = [*blank, f"<div class='error'>{html.escape(f'{type(fault).__name__}: {fault}')}</div>"]
        devices.torch_gc()
        if add_stats:
            shown[-1] += _time_taken(time.perf_counter() - started)
        return tuple(shown)

    return f
