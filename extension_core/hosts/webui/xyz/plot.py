"""The hosts' own grid script, which has no name to import it by (scripts/xyz_grid.py, 1.10.1)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from modules import scripts

_FILE = "xyz_grid.py"


def modules_of_plot() -> list[Any]:
    """The script's module, as the host has executed it; empty where the host has none."""
    return [data.module for data in scripts.scripts_data if Path(data.path).name == _FILE]


def is_plot(p: Any) -> bool:
    """Whether a request is to be run by that script; the drop-down's place is the first of all script arguments."""
    chosen = (p.script_args or (0,))[0]
    if p.scripts is None or not isinstance(chosen, int) or not 0 < chosen <= len(p.scripts.selectable_scripts):
        return False
    return Path(p.scripts.selectable_scripts[chosen - 1].filename).name == _FILE
