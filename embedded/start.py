"""Puts a flavour of the embedded WebUI on `sys.path`, so that extensions find its top-level package `modules`."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

FLAVOURS = ("a1111", "forge")


def prepare(flavour: str, arguments: Sequence[str]) -> ModuleType:
    """Makes `modules` of the flavour importable, with `arguments` as its command line, and returns its `webui` module.

    One flavour a process. ValueError for an unknown one, RuntimeError where another package `modules` is loaded
    already.
    """
    if flavour not in FLAVOURS:
        raise ValueError(f"{flavour!r} is not a flavour of the embedded WebUI; choose one of {', '.join(FLAVOURS)}.")
    folder, common = (Path(__file__).resolve().parent / name for name in (flavour, "common"))
    loaded = getattr(sys.modules.get("modules"), "__file__", None)
    if loaded is not None and not Path(loaded).is_relative_to(folder):
        raise RuntimeError(
            f"Another package `modules` is loaded from {loaded}; start the embedded WebUI in a process of its own."
        )
    sys.path[:0] = [str(part) for part in (folder, common) if str(part) not in sys.path]
    sys.argv = [str(folder / "webui.py"), *arguments]
    return importlib.import_module("webui")
