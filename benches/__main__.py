"""`python -m benches --json FILE [--flavour forge] [--quick]`: prints the figures and writes one flat JSON object.

Every part runs in a process of its own and within a time limit. The file is written anew after each; where one fails,
the others' figures stand in it, `failed_parts` says which and why, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from benches.parts import FLAVOURS, PartFailed, figures_of
from benches.targets import table
from extension_core import __version__

MINUTES, QUICK_MINUTES = 30.0, 10.0


@dataclass(frozen=True)
class Part:
    """One process of the bench: `python -m module`, and what it is given."""

    module: str
    options: tuple[str, ...] = ()


def main() -> int:
    """Measure, print, write."""
    options = _parser().parse_args()
    signal.signal(signal.SIGTERM, _leave)
    started = time.perf_counter()
    figures: dict[str, Any] = {}
    for figures in measured(options):
        figures["seconds_in_all"] = time.perf_counter() - started
        if options.json is not None:
            options.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    print(table(figures))
    for failure in figures["failed_parts"]:
        print(f"bench: {failure}", file=sys.stderr)
    return 1 if figures["failed_parts"] else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benches", description=__doc__)
    parser.add_argument("--flavour", choices=FLAVOURS, default="a1111", help="the host to be like (default: a1111)")
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    parser.add_argument("--quick", action="store_true", help="a U-Net of a tenth of the width: shows that it runs")
    parser.add_argument("--threads", type=int, help="torch's threads (default: torch's own choice)")
    parser.add_argument("--rounds", type=int, help="repeats of every timed pair (default: 5, quick 1)")
    parser.add_argument("--size", type=int, help="side of the sampled image in pixels (default: 256, quick 64)")
    parser.add_argument(
        "--minutes", type=float, help=f"time limit of each part (default: {MINUTES:g}, quick {QUICK_MINUTES:g})"
    )
    return parser


def _leave(*_: object) -> None:
    raise KeyboardInterrupt  # so that a terminated bench ends its part, too


def parts(options: argparse.Namespace) -> list[Part]:
    """What is measured, in its order."""
    rounds, size = _lengths(options)
    repeated = ("--rounds", str(rounds))
    return [
        Part("benches.hybrid", (*repeated, "--size", str(size))),
        Part("benches.small"),
        Part("benches.residency", repeated),
        Part("benches.preview", (*repeated, "--size", str(size))),
    ]


def _lengths(options: argparse.Namespace) -> tuple[int, int]:
    return options.rounds or (1 if options.quick else 5), options.size or (64 if options.quick else 256)


def measured(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """All that is known so far: once before the first part, and after each."""
    rounds, size = _lengths(options)
    about = {**_surroundings(), "quick": options.quick, "rounds": rounds, "image_size": size}
    figures: dict[str, Any] = {}
    failed: list[str] = []
    yield {**about, "failed_parts": failed}
    common = ["--flavour", options.flavour, *(["--quick"] if options.quick else [])]
    common += ["--threads", str(options.threads)] if options.threads else []
    minutes = options.minutes or (QUICK_MINUTES if options.quick else MINUTES)
    for part in parts(options):
        print(f"bench: {part.module} on the {options.flavour} flavour", file=sys.stderr, flush=True)
        try:
            with tempfile.TemporaryDirectory(prefix="bench") as folder:
                found = figures_of(part.module, [*common, *part.options], Path(folder), 60 * minutes)
            figures |= found
        except PartFailed as failure:
            failed.append(f"{failure} (on the {options.flavour} flavour)")
        yield {**figures, **about, "failed_parts": failed}


def _surroundings() -> dict[str, Any]:
    return {
        "version": __version__,
        "torch": metadata.version("torch"),
        "python": platform.python_version(),
        "processor": _processor(),
        "processors": os.cpu_count(),
    }


def _processor() -> str:
    """Model name as the system tells it."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text(encoding="utf-8").splitlines() if information.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


if __name__ == "__main__":
    raise SystemExit(main())
