"""What the WebUI says on stderr of exceptions that it swallows."""

from __future__ import annotations

import sys
import traceback


def report(message: str, *, exc_info: bool = False) -> None:
    """A sentence, and with `exc_info` the traceback of the exception that is being handled."""
    marked = "".join(f"*** {line}\n" for line in message.splitlines())
    sys.stderr.write(marked + (traceback.format_exc() if exc_info else ""))


def display(e: BaseException, task: str | None) -> None:
    """An exception with its traceback, under what was being done."""
    sys.stderr.write(f"{type(e).__name__} while {task or 'working'}\n")
    traceback.print_exception(type(e), e, e.__traceback__)
