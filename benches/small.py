"""`python -m benches.small --flavour forge --json FILE`: what is measured on a U-Net of a tenth of the width.

Its 200 generations take minutes and its sizes still show: every model that is not let go would add 30 MiB each time.
"""

from __future__ import annotations

import sys
from pathlib import Path

from benches import checkpoints, images, keeping
from benches.apart import HOSTS, parser, tell

GENERATIONS = 200
ROUNDS = 5
SIDE = 256


def run(folder: Path, flavour: str, threads: int | None, quick: bool) -> dict[str, float]:
    """All figures of one host."""
    count, ends, rounds, size = (10, 1, 1, 64) if quick else (GENERATIONS, keeping.ENDS, ROUNDS, SIDE)
    files = checkpoints.make(folder / "models", checkpoints.QUICK)
    keeping.make_lora(folder / "data" / "models" / "Lora", folder / "models")
    host = HOSTS[flavour](files, folder / "data", threads)
    figures = {
        **images.measure(host, files, rounds, size),
        **keeping.merges(host, files),
        **keeping.growth(keeping.generations(host, files), files.base, count, ends),
    }
    prefix = "" if flavour == "a1111" else f"{flavour}_"
    return {f"{prefix}{name}": value for name, value in figures.items()}


def main() -> int:
    """Measure, print, write."""
    options = parser("benches.small", __doc__, "few repeats").parse_args()
    return tell(options.json, lambda folder: run(folder, options.flavour, options.threads, options.quick))


if __name__ == "__main__":
    sys.exit(main())
