"""Reporting of exceptions that the host swallows: to stderr, and into a short list that sysinfo-like tools read."""

from __future__ import annotations

import sys
import textwrap
import traceback
from collections.abc import Callable
from typing import Any

exception_records: list[dict[str, Any]] = []
already_displayed: dict[str, int] = {}


def record_exception() -> None:
    _, exc, tb = sys.exc_info()
    if exc is None:
        return
    frames = [[f"{x.filename}, line {x.lineno}, {x.name}", x.line] for x in traceback.extract_tb(tb)]
    exception_records.append({"exception": str(exc), "traceback": frames})
    del exception_records[:-5]


def get_exceptions() -> list[dict[str, Any]]:
    return list(reversed(exception_records))


def report(message: str, *, exc_info: bool = False) -> None:
    """Prints a message to stderr with every line marked `***`, with the current traceback where asked for."""
    record_exception()
    for line in message.splitlines():
        print("***", line, file=sys.stderr)
    if exc_info:
        print(textwrap.indent(traceback.format_exc(), "    "), file=sys.stderr)
        print("---", file=sys.stderr)


def print_error_explanation(message: str) -> None:
    record_exception()
    lines = message.strip().split("\n")
    rule = "=" * max(map(len, lines))
    print("\n".join([rule, *lines, rule]), file=sys.stderr)


def display(e: BaseException, task: str | None, *, full_traceback: bool = False) -> None:
    del full_traceback
    record_exception()
    kind = type(e).__name__
    print(f"{kind} while {task}" if task else kind, file=sys.stderr)
    print(*traceback.TracebackException.from_exception(e).format(), sep="", file=sys.stderr)


def display_once(e: BaseException, task: str) -> None:
    if task not in already_displayed:
        display(e, task)
        already_displayed[task] = 1


def run(code: Callable[[], Any], task: str) -> None:
    try:
        code()
    except Exception as e:  # the host's own rule: a failing start-up task is shown and passed over
        display(e, task)
