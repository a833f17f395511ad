"""Finds and executes `scripts/*.py`. Every subclass of Script in such a file is registered, imported base classes
included.
"""

from __future__ import annotations

import inspect
import os
import sys
from dataclasses import dataclass
from types import ModuleType
from typing import Any, NamedTuple

from modules import errors, extensions, paths, paths_internal, script_callbacks, script_loading, timer, util
from modules.script_base import (
    AlwaysVisible,
    MaskBlendArgs,
    OnComponent,
    PostprocessBatchListArgs,
    PostprocessImageArgs,
    PostProcessMaskOverlayArgs,
    PostSampleArgs,
    Script,
    ScriptBuiltinUI,
)
from modules.script_runner import ScriptRunner, wrap_call

topological_sort = util.topological_sort
current_basedir = paths.script_path


def basedir() -> str:
    """The folder of the extension whose script is being executed right now; at any other time the host's own."""
    return current_basedir


class ScriptFile(NamedTuple):
    basedir: str
    filename: str
    path: str


class ScriptClassData(NamedTuple):
    script_class: type[Script]
    path: str
    basedir: str
    module: ModuleType


@dataclass
class ScriptWithDependencies:
    script_canonical_name: str
    file: ScriptFile
    requires: list[str]
    load_before: list[str]
    load_after: list[str]


scripts_data: list[ScriptClassData] = []
postprocessing_scripts_data: list[ScriptClassData] = []


def _host_scripts(scriptdirname: str, extension: str) -> dict[str, ScriptWithDependencies]:
    files: dict[str, str] = {}
    for folder in (os.path.join(x, scriptdirname) for x in paths_internal.host_folders):
        for filename in os.listdir(folder) if os.path.exists(folder) else []:
            path = os.path.join(folder, filename)
            if os.path.isfile(path) and os.path.splitext(filename)[1].lower() == extension:
                files[filename] = path
    return {
        name: ScriptWithDependencies(name, ScriptFile(paths.script_path, name, path), [], [], [])
        for name, path in sorted(files.items())
    }


def _extension_scripts(
    ext: extensions.Extension, scriptdirname: str, extension: str
) -> dict[str, ScriptWithDependencies]:
    found = {}
    for file in ext.list_files(scriptdirname, extension):
        name = ("builtin/" if ext.is_builtin else "") + ext.canonical_name + "/" + file.filename
        relative = scriptdirname + "/" + file.filename
        wants = [
            ext.metadata.get_script_requirements(field, relative, scriptdirname)
            for field in ("Requires", "Before", "After")
        ]
        found[name] = ScriptWithDependencies(name, file, *wants)
    return found


def list_scripts(scriptdirname: str, extension: str, *, include_extensions: bool = True) -> list[ScriptFile]:
    """The host's own files, then the extensions', in the order that their metadata asks for."""
    found = _host_scripts(scriptdirname, extension)
    of_extension: dict[str, list[ScriptWithDependencies]] = {}
    for ext in extensions.active() if include_extensions else []:
        own = _extension_scripts(ext, scriptdirname, extension)
        of_extension[ext.canonical_name] = list(own.values())
        found.update(own)
    for name, script in found.items():
        for wanted in script.load_before:
            for other in [found[wanted]] if wanted in found else of_extension.get(wanted, []):
                other.load_after.append(name)
    dependencies = {}
    for name, script in found.items():
        for wanted in script.requires:
            if wanted not in found and wanted not in of_extension:
                errors.report(f'Script "{name}" requires "{wanted}" to be loaded, but it is not.')
        after: list[str] = []
        for wanted in script.load_after:
            after += (
                [x.script_canonical_name for x in of_extension.get(wanted, [])] if wanted not in found else [wanted]
            )
        dependencies[name] = after
    return [found[name].file for name in topological_sort(dependencies)]


def list_files_with_name(filename: str) -> list[str]:
    folders = [*paths_internal.host_folders, *(ext.path for ext in extensions.active())]
    return [path for folder in folders if os.path.isfile(path := os.path.join(folder, filename))]


def _register_scripts_from_module(module: ModuleType, file: ScriptFile) -> None:
    for script_class in list(vars(module).values()):
        if inspect.isclass(script_class) and issubclass(script_class, Script):
            scripts_data.append(ScriptClassData(script_class, file.path, file.basedir, module))


def load_scripts() -> None:
    """Clears all callbacks and executes every script file afresh. A package that a script imports stays in
    `sys.modules`, so it is not executed again. While a file is executed, its extension's folder is first on `sys.path`.
    """
    global current_basedir, scripts_txt2img, scripts_img2img
    scripts_data.clear()
    postprocessing_scripts_data.clear()
    script_callbacks.clear_callbacks()
    syspath = sys.path
    for file in list_scripts("scripts", ".py") + list_scripts(
        "modules/processing_scripts", ".py", include_extensions=False
    ):
        try:
            if file.basedir != paths.script_path:
                sys.path = [file.basedir, *sys.path]
            current_basedir = file.basedir
            _register_scripts_from_module(script_loading.load_module(file.path), file)
        except Exception:
            errors.report(f"Error loading script: {file.filename}", exc_info=True)
        finally:
            sys.path = syspath
            current_basedir = paths.script_path
            timer.startup_timer.record(file.filename)
    scripts_txt2img = ScriptRunner()
    scripts_img2img = ScriptRunner()


def reload_script_body_only() -> None:
    """Scripts are re-executed by `reload_scripts` alone here."""


reload_scripts = load_scripts
scripts_txt2img: ScriptRunner = None  # type: ignore[assignment]
scripts_img2img: ScriptRunner = None  # type: ignore[assignment]
scripts_postproc: Any = None
scripts_current: ScriptRunner | None = None

__all__ = [
    "AlwaysVisible",
    "MaskBlendArgs",
    "OnComponent",
    "PostProcessMaskOverlayArgs",
    "PostSampleArgs",
    "PostprocessBatchListArgs",
    "PostprocessImageArgs",
    "Script",
    "ScriptBuiltinUI",
    "ScriptClassData",
    "ScriptFile",
    "ScriptRunner",
    "basedir",
    "list_scripts",
    "load_scripts",
    "reload_scripts",
    "scripts_data",
    "wrap_call",
]
