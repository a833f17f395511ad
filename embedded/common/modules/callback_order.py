"""Callbacks under names, in the order that extensions' metadata and the user ask for."""

from __future__ import annotations

import dataclasses
import inspect
import os
from pathlib import Path
from typing import Any

from modules import extensions, shared, util


@dataclasses.dataclass
class ScriptCallback:
    script: str
    callback: Any
    name: str = "unnamed"


def calling_file() -> str:
    """The first file on the stack that is not part of this machinery."""
    here = Path(__file__)
    own = {str(here), str(here.with_name("script_callbacks.py"))}
    return next((frame.filename for frame in inspect.stack() if frame.filename not in own), "unknown file")


def add_callback(
    callbacks: list[ScriptCallback],
    fun: Any,
    *,
    name: str | None = None,
    category: str = "unknown",
    filename: str | None = None,
) -> None:
    """Appends `fun` under the name "extension/file/category[/name]", numbered where taken. The registering file is the
    caller's.
    """
    filename = filename or calling_file()
    extension = extensions.find_extension(filename)
    full = "/".join(
        [
            extension.canonical_name if extension else "base",
            os.path.basename(filename),
            category,
            *([name] if name else []),
        ]
    )
    taken = {x.name for x in callbacks}
    unique, index = full, 0
    while unique in taken:
        index += 1
        unique = f"{full}-{index}"
    callbacks.append(ScriptCallback(filename, fun, unique))


def sort_callbacks(
    category: str, unordered_callbacks: list[ScriptCallback], *, enable_user_sort: bool = True
) -> list[ScriptCallback]:
    """Registration order, changed by `[callbacks/...]` sections of extensions' metadata.ini and by the user's
    preference.
    """
    callbacks = {x.name: x for x in unordered_callbacks}
    orders = [
        o for e in extensions.extensions for o in e.metadata.list_callback_order_instructions() if o.name in callbacks
    ]
    names = list(callbacks)
    if orders:
        dependencies: dict[str, list[str]] = {name: [] for name in callbacks}
        for order in orders:
            dependencies[order.name] += [x for x in order.after if x in callbacks]
            for before in order.before:
                if before in callbacks:
                    dependencies[before].append(order.name)
        names = util.topological_sort(dependencies)
    if enable_user_sort:
        first = [x for x in getattr(shared.opts, "prioritized_callbacks_" + category, []) if x in callbacks]
        names = first + [x for x in names if x not in first]
    return [callbacks[name] for name in names]
