"""`python -m benches.hybrid --flavour forge --json FILE`: hybrid sampling, the second load, the exchange or switch.

On the U-Net of SD 1.5 at its full size.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch

from benches import a1111, checkpoints, forge
from benches.apart import parser, tell

HOSTS = {"a1111": a1111.run, "forge": forge.run}


def run(folder: Path, flavour: str, threads: int | None, quick: bool, rounds: int, size: int) -> dict[str, Any]:
    """All figures of one host, and the threads that they were taken with."""
    files = checkpoints.make(folder / "models", checkpoints.QUICK if quick else checkpoints.FULL)
    figures = HOSTS[flavour](folder, files, threads=threads, rounds=rounds, size=size)
    return {**figures, "torch_threads": torch.get_num_threads()}


def main() -> int:
    """Measure, print, write."""
    arguments = parser("benches.hybrid", __doc__, "a U-Net of a tenth of the width")
    arguments.add_argument("--rounds", type=int, default=5, help="repeats of every timed pair (default: 5)")
    arguments.add_argument("--size", type=int, default=256, help="side of the sampled image in pixels (default: 256)")
    chosen = arguments.parse_args()
    lengths = (chosen.quick, chosen.rounds, chosen.size)
    return tell(chosen.json, lambda folder: run(folder, chosen.flavour, chosen.threads, *lengths))


if __name__ == "__main__":
    sys.exit(main())
