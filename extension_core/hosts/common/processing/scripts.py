"""The hosts' own grid script, which has no name to import it by (scripts/xyz_grid.py, 1.10.1)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from modules import scripts

_FILE = "xyz_grid.py"


def modules_of_plot() -> list[Any]:
    """The script's module, as the host has executed it; empty where the host has none."""
    return [data.module for data in scripts.scripts_data if Path(data.path).name == _FILE]


def selected_file(p: Any) -> str:
    """Name of the file of the script that the request was made for; the drop-down's place is the first of all
    arguments. "" for none, and for requests that other extensions make with the arguments of another.
    """
    runner: Any = getattr(p, "scripts", None)
    chosen = (getattr(p, "script_args", None) or (0,))[0]
    of_tabs: list[Any] = [scripts.scripts_txt2img, scripts.scripts_img2img]
    if runner is None or runner not in of_tabs or not isinstance(chosen, int):
        return ""
    known = runner.selectable_scripts
    return Path(known[chosen - 1].filename).name if 0 < chosen <= len(known) else ""


def is_plot(p: Any) -> bool:
    """Whether a request is to be run by that script."""
    return selected_file(p) == _FILE
