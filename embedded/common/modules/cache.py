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


class _Later:
    """What is to be written, once for all that comes meanwhile: thousands of files may be looked at in a row."""

    def __init__(self) -> None:
        self._timer: threading.Timer | None = None

    def begin(self) -> None:
        """Under the lock."""
        if self._timer is None:
            self._timer = threading.Timer(_LATER, self._write)
            self._timer.daemon = True
            self._timer.start()

    def _write(self) -> None:
        with _lock, open(_filename, "w", encoding="utf8") as file:
            self._timer = None
            json.dump(_all(), file, indent=1)

    def end(self) -> None:
        """Write now what waits."""
        if self._timer is not None:
            self._timer.cancel()
            self._write()


_later = _Later()
atexit.register(_later.end)


def dump_cache() -> None:
    with _lock:
        _later.begin()


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
