"""`python -m benches --json FILE [--quick]`: prints the figures and writes them as one flat JSON object."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from benches import checkpoints, sampling, weights
from benches.host import Host
from benches.timing import Seconds
from extension_core import __version__

# Largest value that the figure is to have; 1 exactly where the second number says so.
TARGETS = {
    "hybrid_over_bare_calls": 1.01,
    "exchange_ms_per_1000_tensors": 2.0,
    "second_load_over_host_load": 1.0,
    "extra_bytes_over_differing_bytes": 1.0,
}
MIB = 1 << 20


def main() -> int:
    """Measure, print, write."""
    options = _parser().parse_args()
    started = time.perf_counter()
    # The host prints what it loads; the table alone goes to standard output.
    with contextlib.redirect_stdout(sys.stderr), tempfile.TemporaryDirectory(prefix="bench") as folder:
        chosen = {"quick": options.quick, "threads": options.threads, "rounds": options.rounds, "size": options.size}
        figures = run(Path(folder), **chosen)
    figures["seconds_in_all"] = time.perf_counter() - started
    print(table(figures))
    if options.json is not None:
        options.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benches", description=__doc__)
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    parser.add_argument("--quick", action="store_true", help="a U-Net of a tenth of the width: shows that it runs")
    parser.add_argument("--threads", type=int, help="torch's threads (default: torch's own choice)")
    parser.add_argument("--rounds", type=int, default=5, help="repeats of every timed pair (default: 5)")
    parser.add_argument("--size", type=int, default=256, help="side of the sampled image in pixels (default: 256)")
    return parser


def run(folder: Path, *, quick: bool, threads: int | None, rounds: int, size: int) -> dict[str, Any]:
    """All figures, in the order in which the files are needed."""
    files = checkpoints.make(folder / "models", checkpoints.QUICK if quick else checkpoints.FULL)
    host = Host(files, folder / "data", threads)
    figures: dict[str, Any] = dict.fromkeys(TARGETS, 0.0)
    figures |= _load_figures(weights.measure_loads(host, files.base, files.distilled, rounds))
    figures |= _exchange_figures(files.distilled)
    arguments = {"distilled_model": files.distilled.name, "family": "lcm"}
    figures |= _sampling_figures(sampling.measure(host, size, arguments, rounds))
    figures |= _memory_figures(files)
    return {**figures, **_surroundings(), "quick": quick, "rounds": rounds, "image_size": size}


def _load_figures(loads: weights.Loads) -> dict[str, float]:
    figures = {"second_load_seconds": _median(seconds.wall for seconds in loads.ours)}
    for name, theirs in (("host_load", loads.resident), ("host_reload", loads.reload)):
        pairs = list(zip(loads.ours, theirs, strict=True))
        figures[f"second_load_over_{name}"] = _median(ours.wall / host.wall for ours, host in pairs)
        figures[f"second_load_over_{name}_cpu"] = _median(ours.cpu / host.cpu for ours, host in pairs)
        figures[f"{name}_seconds"] = _median(host.wall for host in theirs)
    return figures


def _exchange_figures(distilled: Path) -> dict[str, float]:
    """The least of many, as for every time of milliseconds: what is longer was lengthened by other programs."""
    times, tensors = weights.measure_exchange(distilled, 30)
    per_thousand = [seconds.wall * 1e3 * 1000 / tensors for seconds in times]
    return {
        "exchange_ms_per_1000_tensors": min(per_thousand),
        "exchange_ms_per_1000_tensors_median": _median(per_thousand),
        "exchange_tensors": tensors,
    }


def _sampling_figures(rounds: list[sampling.Round]) -> dict[str, float]:
    def seconds(times: Iterable[Seconds]) -> float:
        return _median(time.wall for time in times)

    return {
        "hybrid_over_bare_calls": _median(r.sampling.wall / r.bare.wall for r in rounds),
        "hybrid_over_bare_calls_cpu": _median(r.sampling.cpu / r.bare.cpu for r in rounds),
        "hybrid_over_own_calls": _median(r.sampling.wall / r.calls.wall for r in rounds),
        "hybrid_seconds": seconds(r.sampling for r in rounds),
        "bare_calls_seconds": seconds(r.bare for r in rounds),
        "outside_calls_ms": 1e3 * seconds(r.sampling - r.calls for r in rounds),
        "outside_calls_cpu_ms": 1e3 * _median((r.sampling - r.calls).cpu for r in rounds),
        "unet_calls": rounds[0].count,
    }


def _memory_figures(files: checkpoints.Files) -> dict[str, float]:
    held, tensors, number_size = weights.bytes_held(files.partly)
    differing, numbers = checkpoints.differing_unet_numbers(files.base, files.partly)
    return {
        "extra_bytes_over_differing_bytes": held / (numbers * number_size),
        "extra_mib": held / MIB,
        "extra_tensors": tensors,
        "differing_tensors": differing,
        "file_mib": files.partly.stat().st_size / MIB,
    }


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


def _median(values: Iterable[float]) -> float:
    return statistics.median(values)


def table(figures: dict[str, Any]) -> str:
    """The figures, each with its target where it has one."""
    width = max(map(len, figures))
    rows = []
    for name, value in figures.items():
        shown = f"{value:.4g}" if isinstance(value, float) else str(value)
        if name in TARGETS:
            met = value == 1.0 if name.startswith("extra_bytes") else value <= TARGETS[name]
            sign = "=" if name.startswith("extra_bytes") else "<="
            shown += f"  (target {sign} {TARGETS[name]:g}: {'met' if met else 'MISSED'})"
        rows.append(f"{name:<{width}}  {shown}")
    return "\n".join(rows)


if __name__ == "__main__":
    raise SystemExit(main())
