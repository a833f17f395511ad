"""File listing and ordering helpers."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence


def natural_sort_key(s: str) -> list[int | str]:
    return [int(x) if x.isdigit() else x.lower() for x in re.split(r"(\d+)", s)]


def listfiles(dirname: str) -> list[str]:
    names = sorted(os.listdir(dirname), key=natural_sort_key)
    return [path for x in names if not x.startswith(".") and os.path.isfile(path := os.path.join(dirname, x))]


def walk_files(path: str, allowed_extensions: Sequence[str] | None = None) -> Iterator[str]:
    """Every file below `path` (links followed) whose ending is allowed, in natural order of folders and names."""
    if not os.path.exists(path):
        return
    for root, _, files in sorted(os.walk(path, followlinks=True), key=lambda x: natural_sort_key(x[0])):
        for filename in sorted(files, key=natural_sort_key):
            if allowed_extensions is None or os.path.splitext(filename)[1].lower() in allowed_extensions:
                yield os.path.join(root, filename)


def topological_sort(dependencies: dict[str, list[str]]) -> list[str]:
    """Names ordered so that each comes after those it depends on; a cycle is cut where it is met."""
    order: dict[str, None] = {}
    entered: set[str] = set()

    def visit(name: str) -> None:
        if name in entered:
            return
        entered.add(name)
        for dependency in dependencies.get(name, []):
            visit(dependency)
        if name in dependencies:
            order[name] = None

    for name in dependencies:
        visit(name)
    return list(order)
