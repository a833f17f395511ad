"""Running the stages of a suite, in turn or side by side, to a verdict; standard library only."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, Any

from tools.environments import child, run, say, status, stop

Stages = dict[str, tuple[list[str], dict[str, str]]]  # name -> command and its environment

# What a stage of the tests may take, several times what it takes with every core busy: one that hangs says where, and
# the others' results are told. Tests have a limit of their own (pyproject.toml).
STAGE_MINUTES = 45
TOOK_TOO_LONG = 124  # as the program `timeout` has it


def run_in_turn(stages: Stages) -> dict[str, int]:
    """Run every stage, also after one has failed; returns their statuses."""
    codes: dict[str, int] = {}
    for name, (command, environ) in stages.items():
        say(name)
        codes[name] = run(command, environ)
    return codes


def run_side_by_side(stages: Stages, at_once: int = 3) -> dict[str, int]:
    """Run the stages in their order, some at one time; what each prints is shown whole, one stage after the other.

    One that takes longer than a stage may is interrupted, upon which pytest says where it is; its status is 124.
    """
    codes: dict[str, int] = {}
    started: dict[str, tuple[subprocess.Popen[Any], IO[bytes]]] = {}
    ends: dict[str, float] = {}
    waiting = list(stages)
    with contextlib.ExitStack() as files:
        folder = Path(files.enter_context(tempfile.TemporaryDirectory()))
        try:
            with contextlib.ExitStack() as children:
                for shown in stages:
                    say(shown)
                    while shown not in codes:
                        now = time.monotonic()
                        late = [name for name, end in ends.items() if name not in codes and now > end]
                        codes |= dict.fromkeys(late, TOOK_TOO_LONG)
                        for name in late:
                            stop(started[name][0], interrupt=True, trace=True)
                        codes |= {
                            name: status(p.returncode)
                            for name, (p, _) in started.items()
                            if name not in codes and p.poll() is not None
                        }
                        while waiting and len(started) - len(codes) < at_once:
                            name = waiting.pop(0)
                            started[name] = start_apart(files, children, folder / str(len(waiting)), *stages[name])
                            ends[name] = now + 60 * STAGE_MINUTES
                        time.sleep(0.1)
                        show_new(started[shown][1])
                    show_new(started[shown][1])
        finally:  # what they had to say when they were interrupted
            for _, printed in started.values():
                show_new(printed)
    return codes


def start_apart(
    files: contextlib.ExitStack,
    children: contextlib.ExitStack,
    printed: Path,
    command: list[str],
    environ: dict[str, str],
) -> tuple[subprocess.Popen[Any], IO[bytes]]:
    """Start a child that prints to a file; returns it and the file to read."""
    with printed.open("wb") as to:
        process = children.enter_context(child(command, environ, interrupt=True, stdout=to, stderr=subprocess.STDOUT))
    return process, files.enter_context(printed.open("rb"))


def show_new(printed: IO[bytes]) -> None:
    sys.stdout.buffer.write(printed.read())
    sys.stdout.flush()


def verdict(codes: dict[str, int]) -> int:
    """The first failure's status; failures are said last, and alone: a good run ends with pytest's own summary."""
    failed = {name: code for name, code in codes.items() if code}
    if failed:
        late = {name: f" (not ended after {STAGE_MINUTES} minutes)" for name in failed if failed[name] == TOOK_TOO_LONG}
        say(f"failed: {', '.join(name + late.get(name, '') for name in failed)}")
    return next(iter(failed.values()), 0)
