"""`python -m benches --json FILE [--flavour forge] [--quick]`: prints the figures and writes one flat JSON object."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from benches import a1111, checkpoints, forge, preview, residency, small
from extension_core import __version__

HOSTS = {"a1111": a1111.run, "forge": forge.run}
TARGETS = {**a1111.TARGETS, **forge.TARGETS, **small.TARGETS, **residency.TARGETS, **preview.TARGETS}
# Figures that are to be at least as large as their target, and those that are to be equal to it.
AT_LEAST = tuple(small.AT_LEAST)
EXACTLY = ("extra_bytes_over_differing_bytes",)


def main() -> int:
    """Measure, print, write."""
    options = _parser().parse_args()
    started = time.perf_counter()
    # The host prints what it loads; the table alone goes to standard output.
    with contextlib.redirect_stdout(sys.stderr), tempfile.TemporaryDirectory(prefix="bench") as folder:
        chosen = {"threads": options.threads, "rounds": options.rounds, "size": options.size}
        figures = run(Path(folder), flavour=options.flavour, quick=options.quick, **chosen)
    figures["seconds_in_all"] = time.perf_counter() - started
    print(table(figures))
    if options.json is not None:
        options.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benches", description=__doc__)
    parser.add_argument("--flavour", choices=HOSTS, default="a1111", help="the host to be like (default: a1111)")
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    parser.add_argument("--quick", action="store_true", help="a U-Net of a tenth of the width: shows that it runs")
    parser.add_argument("--threads", type=int, help="torch's threads (default: torch's own choice)")
    parser.add_argument("--rounds", type=int, default=5, help="repeats of every timed pair (default: 5)")
    parser.add_argument("--size", type=int, default=256, help="side of the sampled image in pixels (default: 256)")
    return parser


def run(folder: Path, *, flavour: str, quick: bool, **measured: Any) -> dict[str, Any]:
    """One host's figures, and what they were taken on."""
    files = checkpoints.make(folder / "models", checkpoints.QUICK if quick else checkpoints.FULL)
    figures = HOSTS[flavour](folder, files, **measured)
    figures |= small.run_apart(flavour, measured["threads"], quick)
    figures |= residency.run_apart(flavour, measured["threads"], measured["rounds"], quick)
    figures |= preview.run_apart(flavour, measured["threads"], measured["rounds"], quick)
    return {**figures, **_surroundings(), "quick": quick, "rounds": measured["rounds"], "image_size": measured["size"]}


def _surroundings() -> dict[str, Any]:
    return {
        "version": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "torch_threads": torch.get_num_threads(),
        "processor": _processor(),
        "processors": os.cpu_count(),
    }


def _processor() -> str:
    """Model name as the system tells it."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text(encoding="utf-8").splitlines() if information.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def table(figures: dict[str, Any]) -> str:
    """The figures, each with its target where it has one."""
    width = max(map(len, figures))
    rows = []
    for name, value in figures.items():
        shown = f"{value:.4g}" if isinstance(value, float) else str(value)
        if name in TARGETS:
            sign, met = _against_target(name, value)
            shown += f"  (target {sign} {TARGETS[name]:g}: {'met' if met else 'MISSED'})"
        rows.append(f"{name:<{width}}  {shown}")
    return "\n".join(rows)


def _against_target(name: str, value: float) -> tuple[str, bool]:
    if name in AT_LEAST:
        return ">=", value >= TARGETS[name]
    if name in EXACTLY:
        return "=", value == TARGETS[name]
    return "<=", value <= TARGETS[name]


if __name__ == "__main__":
    raise SystemExit(main())
