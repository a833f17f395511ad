"""The embedded WebUI as users start it: a process of its own with a log."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from tests.e2e.embedded_host import ROOT, ended, free_port
from tests.waiting import until


class Server:
    """A running one."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
        self.process, self.port, self.log = process, port, log
        self.url = f"http://127.0.0.1:{port}"

    def wait(self, condition: Callable[[str], bool]) -> str:
        """Until its log is so; returns the log."""

        def so() -> bool:
            text = self.log.read_text()
            assert condition(text) or self.process.poll() is None, text[-3000:]
            return condition(text)

        until(so, lambda: self.log.read_text()[-3000:])
        return self.log.read_text()


S = TypeVar("S", bound=Server)


@contextmanager
def serving(kind: type[S], folder: Path, flavour: str, *arguments: str) -> Iterator[S]:
    """Start one, its data in a folder, and end it however the tests end."""
    command = [sys.executable, "-m", "embedded", "--flavour", flavour]
    with started(kind, [*command, "--data-dir", str(folder / "data"), *arguments], folder) as server:
        yield server


@contextmanager
def started(kind: type[S], command: list[str], folder: Path) -> Iterator[S]:
    """The same by a command that takes a port, its log in a folder."""
    port, log = free_port(), folder / "log.txt"
    with log.open("wb") as output:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
        process = subprocess.Popen(
            [*command, "--port", str(port)], cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, env=environment
        )
        server = kind(process, port, log)
        try:
            server.wait(lambda text: "Startup time:" in text)
            yield server
        finally:
            ended(process)
