"""Values kept between runs in one JSON file a subject: file hashes and file metadata, valid while the file is not
newer.
"""

from __future__ import annotations

import atexit
import json
import os
import threading
from collections.abc import Callable
from typing import Any

from modules.paths import data_path

_lock = threading.Lock()
_filename = os.path.join(data_path, "cache.json")
_LATER = 5.0  # seconds
_writing: threading.Timer | None = None
_caches: dict[str, dict[str, Any]] | None = None


def _all() -> dict[str, dict[str, Any]]:
    global _caches
    if _caches is None:
        try:
            with open(_filename, encoding="utf8") as file:
                _caches = json.load(file)
        except (OSError, ValueError):
            _caches = {}
    return _caches if _caches is not None else {}


def cache(subsection: str) -> dict[str, Any]:
    with _lock:
        return _all().setdefault(subsection, {})


def dump_cache() -> None:
    """The file is written later and once for all that comes meanwhile: thousands of files may be looked at in a row."""
    global _writing
    with _lock:
        if _writing is None:
            _writing = threading.Timer(_LATER, _write)
            _writing.daemon = True
            _writing.start()


def _write() -> None:
    global _writing
    with _lock, open(_filename, "w", encoding="utf8") as file:
        _writing = None
        json.dump(_all(), file, indent=1)


def _write_what_waits() -> None:
    if _writing is not None:
        _writing.cancel()
        _write()


atexit.register(_write_what_waits)


def cached_data_for_file(subsection: str, title: str, filename: str, func: Callable[[], Any]) -> Any:
    """`func()`, remembered under `title` until the file changes. OSError where the file is gone."""
    known = cache(subsection)
    mtime = os.path.getmtime(filename)
    entry = known.get(title)
    if entry is not None and entry.get("mtime", 0) >= mtime:
        return entry["value"]
    value = func()
    if value is not None:
        known[title] = {"mtime": mtime, "value": value}
        dump_cache()
    return value
