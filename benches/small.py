"""`python -m benches.small --flavour forge --json FILE`: what is measured on a U-Net of a tenth of the width.

Its 200 generations take minutes and its sizes still show: every model that is not let go would add 30 MiB each time.
"""

from __future__ import annotations

import sys
from pathlib import Path

from benches import checkpoints, images, keeping
from benches.apart import HOSTS, figures_of, parser, tell

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
    options = parser("benches.small", __doc__, "few repeats").parse_args()
    lengths = (20, 1, 64) if options.quick else (GENERATIONS, ROUNDS, SIDE)
    return tell(options.json, lambda folder: run(folder, options.flavour, options.threads, *lengths))


if __name__ == "__main__":
    sys.exit(main())
