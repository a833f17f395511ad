"""Which extensions there are: built-in ones, this checkout, and the folders below `--extensions`."""

from __future__ import annotations

import configparser
import dataclasses
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modules import errors, shared
from modules.paths_internal import checkout_path, extensions_builtin_dir, host_folders

if TYPE_CHECKING:
    from modules.scripts import ScriptFile


@dataclasses.dataclass
class CallbackOrderInfo:
    name: str
    before: list[str]
    after: list[str]


class ExtensionMetadata:
    """An extension's metadata.ini: its canonical name and in which order its scripts and callbacks want to run."""

    filename = "metadata.ini"

    def __init__(self, path: str, canonical_name: str) -> None:
        self.config = configparser.ConfigParser()
        try:
            self.config.read(os.path.join(path, self.filename), encoding="utf8")
        except configparser.Error:
            errors.report(f"{canonical_name}: {self.filename} cannot be read", exc_info=True)
        self.canonical_name = self.config.get("Extension", "Name", fallback=canonical_name).lower().strip()
        self.requires: list[str] | None = None

    def parse_list(self, text: str | None) -> list[str]:
        return [x for x in re.split(r"[,\s]+", (text or "").strip()) if x]

    def get_script_requirements(self, field: str, section: str, extra_section: str | None = None) -> list[str]:
        text = self.config.get(section, field, fallback="")
        if extra_section:
            text += ", " + self.config.get(extra_section, field, fallback="")
        found = []
        for requirement in self.parse_list(text.lower()):
            found.append(next((x for x in requirement.split("|") if x in loaded_extensions), requirement))
        return found

    def list_callback_order_instructions(self) -> Iterator[CallbackOrderInfo]:
        for section in self.config.sections():
            if not section.startswith("callbacks/"):
                continue
            name = section.removeprefix("callbacks/")
            if not name.startswith(self.canonical_name):
                errors.report(f"{self.canonical_name}: [{section}] of its metadata.ini orders another's callbacks")
                continue
            before = self.parse_list(self.config.get(section, "Before", fallback=""))
            yield CallbackOrderInfo(name, before, self.parse_list(self.config.get(section, "After", fallback="")))


class Extension:
    def __init__(
        self,
        name: str,
        path: str,
        enabled: bool = True,
        is_builtin: bool = False,
        metadata: ExtensionMetadata | None = None,
    ) -> None:
        self.name = name
        self.path = path
        self.enabled = enabled
        self.is_builtin = is_builtin
        self.status = ""
        self.remote: str | None = None
        self.branch: str | None = None
        self.commit_hash = ""
        self.commit_date: Any = None
        self.version = ""
        self.metadata = metadata or ExtensionMetadata(path, name.lower())
        self.canonical_name = self.metadata.canonical_name

    def read_info_from_repo(self) -> None:
        """Git data is for the host's update page, which does not exist here."""

    def list_files(self, subdir: str, extension: str) -> list[ScriptFile]:
        from modules import scripts

        folder = os.path.join(self.path, subdir)
        if not os.path.isdir(folder):
            return []
        files = [scripts.ScriptFile(self.path, name, os.path.join(folder, name)) for name in sorted(os.listdir(folder))]
        wanted = [file for file in files if Path(file.filename).suffix.lower() == extension]
        return [file for file in wanted if os.path.isfile(file.path)]


extensions: list[Extension] = []
extension_paths: dict[str, Extension] = {}
loaded_extensions: dict[str, Extension] = {}


def active() -> list[Extension]:
    off = shared.opts.disable_all_extensions
    if off == "all" or shared.cmd_opts.disable_all_extensions:
        return []
    builtin_alone = off == "extra" or shared.cmd_opts.disable_extra_extensions
    return [found for found in extensions if found.enabled and (found.is_builtin or not builtin_alone)]


def _folders() -> Iterator[tuple[str, bool]]:
    for parent, builtin in ((extensions_builtin_dir, True), (shared.cmd_opts.extensions_dir, False)):
        if os.path.isdir(parent):
            yield from ((os.path.join(parent, name), builtin) for name in sorted(os.listdir(parent)))
    if not shared.cmd_opts.without_self:
        yield checkout_path, False


def list_extensions() -> None:
    extensions.clear()
    extension_paths.clear()
    loaded_extensions.clear()
    for path, is_builtin in _folders():
        if not os.path.isdir(path):
            continue
        name = os.path.basename(path)
        metadata = ExtensionMetadata(path, name.lower())
        if metadata.canonical_name in loaded_extensions:
            errors.report(f"{path} is left out: an extension called {metadata.canonical_name} is there already")
            continue
        extension = Extension(name, path, name not in shared.opts.disabled_extensions, is_builtin, metadata)
        extensions.append(extension)
        extension_paths[extension.path] = extension
        loaded_extensions[metadata.canonical_name] = extension


def find_extension(filename: str) -> Extension | None:
    """The extension in whose folder a file lies; None for the host's own files, which here lie inside a checkout that
    is an extension.
    """
    parent = os.path.dirname(os.path.realpath(filename))
    while parent not in (*host_folders, os.path.dirname(parent)):
        if parent in extension_paths:
            return extension_paths[parent]
        parent = os.path.dirname(parent)
    return None
