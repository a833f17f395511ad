"""python -m embedded.demo.schedules --url http://127.0.0.1:7860 --out DIR

What DMD2's two grids of timesteps change: the same requests at the one that the trained pair's student was taught at
(999, 759, 499, 259) and at DMD2's own (999, 749, 499, 249), on a running WebUI with that pair.
Writes schedules.json, table.md and grids.
"""

from __future__ import annotations

import functools
import sys

from .command import run_command
from .compared import GRID_SEEDS, Comparison, run
from .modes import MODES

DMD2_GRIDS = Comparison(
    "schedules",
    "schedule",
    ("family", "trained"),
    ("as taught", "the other"),
    "At 999, 759, 499, 259 and at 999, 749, 499, 249",
    tuple(mode for mode in MODES if mode.arguments is not None),
)


if __name__ == "__main__":
    sys.exit(run_command(DMD2_GRIDS.name, __doc__, GRID_SEEDS, functools.partial(run, DMD2_GRIDS)))
