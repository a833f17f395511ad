"""One part of the bench in a process of its own, which has an end whatever it does; standard library only."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

FLAVOURS = ("a1111", "forge")


class PartFailed(Exception):
    """A part gave no figures; its text is one sentence."""


def figures_of(module: str, options: Sequence[str], folder: Path, seconds: float) -> dict[str, Any]:
    """What `python -m module` writes into its JSON file; what it prints goes to standard error.

    Args:
        options: of its command line.
        folder: for everything that it writes.
        seconds: it may take; then it shows where it stands and is ended.

    Raises:
        PartFailed: it ended with an error, or not at all.
    """
    target = folder / "figures.json"
    command = [sys.executable, "-X", "faulthandler", "-m", module, *options, "--json", str(target)]
    with _group(command, {**os.environ, "TMPDIR": str(folder), "TEMP": str(folder)}) as process:
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            _show_where_it_stands(process)
            raise PartFailed(f"{module} did not end within {seconds:g} seconds and was ended") from None
    if code:
        raise PartFailed(f"{module} ended with {code}; its own words are above")
    if not target.is_file():
        raise PartFailed(f"{module} ended well and wrote no figures")
    return json.loads(target.read_text(encoding="utf-8"))


@contextlib.contextmanager
def _group(command: Sequence[str], environ: dict[str, str], stdout: Any = None) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is ended at the end with all that it has started, however the end comes."""
    apart = os.name != "nt"
    process = subprocess.Popen(command, env=environ, stdout=stdout or sys.stderr, start_new_session=apart)
    try:
        yield process
    finally:
        if os.name == "nt":
            process.kill()
        else:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _show_where_it_stands(process: subprocess.Popen[bytes]) -> None:
    """Every thread's stack on standard error, by Python's faulthandler."""
    if os.name != "nt":
        process.send_signal(signal.SIGABRT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
