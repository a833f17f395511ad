"""python -m embedded.demo.residency --url http://127.0.0.1:7860 --out DIR

What 8 bits change: the same hybrid requests with the base's steps computed exactly and from 8 bits, on a running WebUI
with the trained pair.
Writes residency.json, table.md and grids.
"""

from __future__ import annotations

import functools
import sys

from .command import run_command
from .compared import GRID_SEEDS, Comparison, run
from .modes import MODES

IN_8_BITS = Comparison(
    "residency",
    "residency",
    ("both", "8bit"),
    ("exact", "8 bits"),
    "The base's steps exactly and from 8 bits",
    tuple(mode for mode in MODES if mode.name.startswith("hybrid")),
)


if __name__ == "__main__":
    sys.exit(run_command(IN_8_BITS.name, __doc__, GRID_SEEDS, functools.partial(run, IN_8_BITS)))
