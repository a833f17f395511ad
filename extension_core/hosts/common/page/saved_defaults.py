"""What the user has saved as the page's defaults, by the labels of before.

Hosts keep each component's start under its label (`UiLoadsave.add_component`, modules/ui_loadsave.py, 1.10.1), so one
that is called otherwise now would lose it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from modules import shared


def saved_by_label(script: Any, tab: str) -> Callable[[str], Any]:
    """Label of a script's component on a tab -> the value that was saved for it, None if none was."""
    kept, source = _kept(), Path(getattr(script, "filename", "")).name
    return lambda label: kept.get(f"customscript/{source}/{tab}/{label}/value")


def _kept() -> Mapping[str, Any]:
    """The host's file; what is wrong with it is the host's to say."""
    try:
        found = json.loads(Path(shared.cmd_opts.ui_config_file).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
