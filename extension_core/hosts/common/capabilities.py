"""Does a host offer what an adapter needs? Asked by capability, never by version."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterable, Iterator


def has_module(name: str) -> bool:
    """Whether the host has a module or package of this name."""
    return importlib.util.find_spec(name) is not None


def lacking(names: Iterable[tuple[str, str]], settings: Iterable[str]) -> Iterator[str]:
    """Which of (module, attribute path) and of the settings the host lacks, in order."""
    for module_name, path in names:
        if not _has(module_name, path):
            yield f"{module_name}.{path}"
    known = _option_names()
    for name in settings:
        if name not in known:
            yield f"the setting {name}"


def _has(module_name: str, path: str) -> bool:
    try:
        value: object = importlib.import_module(module_name)
        for part in path.split("."):
            value = getattr(value, part)
    except (ImportError, AttributeError):
        return False
    return True


def _option_names() -> Iterable[str]:
    from modules import shared

    return getattr(getattr(shared, "opts", None), "data_labels", {})
