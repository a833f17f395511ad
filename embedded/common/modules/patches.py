"""Replacing a class's attribute and putting it back, each caller once. ("a patch" here means what this host's
extensions call one.)
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

originals: dict[str, dict[tuple[Any, str], Any]] = defaultdict(dict)


def patch(key: str, obj: Any, field: str, replacement: Any) -> Any:
    """Returns what was there. RuntimeError where this caller has replaced it already."""
    if (obj, field) in originals[key]:
        raise RuntimeError(f"{field} is patched by this key already")
    original = getattr(obj, field)
    originals[key][(obj, field)] = original
    setattr(obj, field, replacement)
    return original


def undo(key: str, obj: Any, field: str) -> None:
    """RuntimeError where this caller has not replaced it."""
    if (obj, field) not in originals[key]:
        raise RuntimeError(f"{field} is not patched by this key")
    setattr(obj, field, originals[key].pop((obj, field)))


def original(key: str, obj: Any, field: str) -> Any:
    return originals[key].get((obj, field))
