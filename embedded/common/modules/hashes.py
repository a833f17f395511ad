"""SHA-256 of model files and what else is read of files once, remembered until the file changes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from typing import Any

_entries: dict[tuple[str, str], tuple[float, Any]] = {}


def remembered(subject: str, title: str, filename: str) -> Any:
    """What is kept of a file; None where nothing is or the file is newer. OSError where the file is gone."""
    written, value = _entries.get((subject, title), (-1.0, None))
    return value if written >= os.path.getmtime(filename) else None


def once(subject: str, title: str, filename: str, read: Callable[[], Any]) -> Any:
    """What is kept of a file, else what `read` returns, which is kept then unless it is None."""
    value = remembered(subject, title, filename)
    if value is None and (value := read()) is not None:
        _entries[subject, title] = (os.path.getmtime(filename), value)
    return value


def _digest(filename: str, tensors_alone: bool) -> str:
    """Of a safetensors file's tensors alone the header is left out, as LoRA trainers do."""
    digest = hashlib.sha256()
    with open(filename, "rb") as file:
        if tensors_alone:
            file.seek(8 + int.from_bytes(file.read(8), "little"))
        for piece in iter(lambda: file.read(1 << 20), b""):
            digest.update(piece)
    return digest.hexdigest()


def sha256_from_cache(filename: str, title: str, use_addnet_hash: bool = False) -> str | None:
    """None where it is not known, or the file has changed since or is gone."""
    return remembered(f"hash {use_addnet_hash}", title, filename) if os.path.exists(filename) else None


def sha256(filename: str, title: str, use_addnet_hash: bool = False) -> str:
    """Read of the file where it is not known yet."""
    return once(f"hash {use_addnet_hash}", title, filename, lambda: _digest(filename, use_addnet_hash))
