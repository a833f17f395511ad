"""Which extensions there are: those of the flavour, the folders below `--extensions`, and this checkout."""

from __future__ import annotations

import os
from dataclasses import dataclass

from modules import shared
from modules.paths_internal import checkout_path, extensions_builtin_dir


@dataclass(frozen=True)
class Extension:
    name: str
    path: str


extensions: list[Extension] = []


def list_extensions() -> None:
    """Look for them anew."""
    folders = [
        entry.path for parent in (extensions_builtin_dir, shared.cmd_opts.extensions_dir) for entry in _in(parent)
    ]
    if not shared.cmd_opts.without_self:
        folders.append(checkout_path)
    extensions[:] = [Extension(os.path.basename(folder), folder) for folder in folders]


def _in(parent: str) -> list[os.DirEntry[str]]:
    if not os.path.isdir(parent):
        return []
    return sorted((entry for entry in os.scandir(parent) if entry.is_dir()), key=lambda entry: entry.name)
