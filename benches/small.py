"""`python -m benches.small --flavour forge --json FILE`: what is measured on a U-Net of a tenth of the width.

Its 200 generations take minutes and its sizes still show: every model that is not let go would add 30 MiB each time.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
from pathlib import Path

from benches import checkpoints, images, keeping
from benches.a1111 import A1111
from benches.apart import figures_of
from benches.forge import Forge
from benches.host import Host

HOSTS: dict[str, type[Host]] = {"a1111": A1111, "forge": Forge}
GENERATIONS = 200
ROUNDS = 5
SIDE = 256
TARGETS = {
    f"{prefix}{name}": target
    for prefix in ("", "forge_")
    for name, target in (
        ("lora_merges_second_image", 0.0),
        ("bytes_grown_after_200", 0.0),
        ("hybrid_over_distilled", 1.02),
        ("base_over_hybrid", 14.0),
    )
}
AT_LEAST = ("base_over_hybrid", "forge_base_over_hybrid")


def run(folder: Path, flavour: str, threads: int | None, count: int, rounds: int, size: int) -> dict[str, float]:
    """All figures of one host."""
    files = checkpoints.make(folder / "models", checkpoints.QUICK)
    keeping.make_lora(folder / "data" / "models" / "Lora", folder / "models")
    host = HOSTS[flavour](files, folder / "data", threads)
    figures = {
        **images.measure(host, files, rounds, size),
        **keeping.merges(host, files),
        **keeping.growth(keeping.generations(host, files), files.base, count),
    }
    prefix = "" if flavour == "a1111" else f"{flavour}_"
    return {f"{prefix}{name}": value for name, value in figures.items()}


def run_apart(flavour: str, threads: int | None, quick: bool) -> dict[str, float]:
    """`run` in a process of its own, for there is one host a process."""
    return figures_of("benches.small", flavour, threads, ["--quick"] if quick else [])


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog="python -m benches.small", description=__doc__)
    parser.add_argument("--flavour", choices=HOSTS, default="a1111", help="the host to be like (default: a1111)")
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    parser.add_argument("--threads", type=int, help="torch's threads (default: torch's own choice)")
    parser.add_argument("--quick", action="store_true", help="few repeats: shows that it runs")
    options = parser.parse_args()
    lengths = (20, 1, 64) if options.quick else (GENERATIONS, ROUNDS, SIDE)
    with contextlib.redirect_stdout(sys.stderr), tempfile.TemporaryDirectory(prefix="bench") as folder:
        figures = run(Path(folder), options.flavour, options.threads, *lengths)
    print("\n".join(f"{name}  {value:.10g}" for name, value in figures.items()))
    if options.json is not None:
        options.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
