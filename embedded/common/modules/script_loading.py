"""Executes a file as a module of its own that is entered nowhere: loading it again executes it again."""

from __future__ import annotations

import importlib.util
import os
from types import ModuleType

from modules import errors

loaded_scripts: dict[str, ModuleType] = {}


def load_module(path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(os.path.basename(path), path)
    assert spec is not None and spec.loader is not None, f"{path} cannot be loaded as Python source"
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    loaded_scripts[path] = module
    return module


def preload_extensions(extensions_dir: str, parser: object, extension_list: list[str] | None = None) -> None:
    """Runs each extension's `preload.py`, which may add command line options to `parser`."""
    if not os.path.isdir(extensions_dir):
        return
    for dirname in sorted(extension_list if extension_list is not None else os.listdir(extensions_dir)):
        script = os.path.join(extensions_dir, dirname, "preload.py")
        if not os.path.isfile(script):
            continue
        try:
            module = load_module(script)
            if hasattr(module, "preload"):
                module.preload(parser)
        except Exception:  # the host reports and goes on
            errors.report(f"Error running preload() for {script}", exc_info=True)
