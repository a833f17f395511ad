"""The embedded WebUI as users start it: a process of its own with a log."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from tests.e2e.embedded_host import ROOT, START_SECONDS, free_port


class Server:
    """A running one."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
        self.process, self.port, self.log = process, port, log
        self.url = f"http://127.0.0.1:{port}"

    def wait(self, condition: Callable[[str], bool]) -> str:
        """Until its log is so; returns the log."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            text = self.log.read_text()
            if condition(text):
                return text
            assert self.process.poll() is None, text[-3000:]
            time.sleep(0.2)
        raise AssertionError(self.log.read_text()[-3000:])


S = TypeVar("S", bound=Server)


@contextmanager
def serving(kind: type[S], folder: Path, flavour: str, *arguments: str) -> Iterator[S]:
    """Start one, its data in a folder, and end it however the tests end."""
    command = [sys.executable, "-m", "extension_core.embedded", "--flavour", flavour]
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
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(30)
