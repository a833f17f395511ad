"""Finds and executes `scripts/*.py`. Subclasses of Script in it are registered, imported base classes included."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from modules import errors, paths, paths_internal, script_callbacks, shared
from modules.script_base import AlwaysVisible, Script, ScriptBuiltinUI
from modules.script_runner import ScriptRunner

current_basedir = paths.script_path


def basedir() -> str:
    """The folder of the extension whose script is being executed right now; at any other time the WebUI's own."""
    return current_basedir


extensions: list[str] = []
"""Folders: those of the flavour, those below `--extensions`, and this checkout."""


def list_extensions() -> None:
    """Look for them anew."""
    parents = [Path(folder) for folder in (paths_internal.extensions_builtin_dir, shared.cmd_opts.extensions_dir)]
    folders = [entry for parent in parents if parent.is_dir() for entry in sorted(parent.iterdir()) if entry.is_dir()]
    if not shared.cmd_opts.without_self:
        folders.append(Path(paths_internal.checkout_path))
    extensions[:] = map(str, folders)


class ScriptFile(NamedTuple):
    basedir: str
    path: str


class ScriptClassData(NamedTuple):
    script_class: type[Script]
    path: str
    module: ModuleType


scripts_data: list[ScriptClassData] = []
scripts_txt2img: ScriptRunner = None  # type: ignore[assignment]
scripts_img2img: ScriptRunner = None  # type: ignore[assignment]
scripts_current: ScriptRunner | None = None
"""The one whose tab is being built."""


def list_scripts(scriptdirname: str, extension: str) -> list[ScriptFile]:
    """Files of this ending in a folder of the WebUI, then in those of the extensions."""
    own = {
        file.name: file for folder in paths_internal.host_folders for file in _files(folder, scriptdirname, extension)
    }
    found = [ScriptFile(paths.script_path, str(own[name])) for name in sorted(own)]
    for folder in extensions:
        found += [ScriptFile(folder, str(file)) for file in _files(folder, scriptdirname, extension)]
    return found


def _files(folder: str, name: str, extension: str) -> list[Path]:
    return sorted(file for file in Path(folder, name).glob("*") if file.suffix == extension and file.is_file())


def list_files_with_name(filename: str) -> list[str]:
    folders = [*paths_internal.host_folders, *extensions]
    return [path for path in (os.path.join(folder, filename) for folder in folders) if os.path.isfile(path)]


def _execute(file: ScriptFile) -> ModuleType:
    """As a module that is entered nowhere: loading it again executes it again."""
    spec = importlib.util.spec_from_file_location(Path(file.path).name, file.path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _load(file: ScriptFile) -> None:
    """While a file is executed, its extension's folder is first on `sys.path`."""
    global current_basedir
    before, current_basedir = list(sys.path), file.basedir
    if file.basedir != paths.script_path:
        sys.path.insert(0, file.basedir)
    try:
        module = _execute(file)
    finally:
        sys.path[:], current_basedir = before, paths.script_path
    classes = [found for found in vars(module).values() if isinstance(found, type) and issubclass(found, Script)]
    scripts_data.extend(ScriptClassData(found, file.path, module) for found in classes)


def load_scripts() -> None:
    """At the start and at every "Reload UI": callbacks are forgotten, files executed afresh."""
    global scripts_txt2img, scripts_img2img
    script_callbacks.clear_callbacks()
    scripts_data.clear()
    for file in [*list_scripts("scripts", ".py"), *list_scripts(os.path.join("modules", "processing_scripts"), ".py")]:
        try:
            _load(file)
        except Exception:
            errors.report(f"{file.path} could not be loaded", exc_info=True)
    scripts_txt2img, scripts_img2img = ScriptRunner(), ScriptRunner()


reload_scripts = load_scripts

__all__ = ["AlwaysVisible", "Script", "ScriptBuiltinUI", "ScriptRunner"]
