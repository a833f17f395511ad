"""What was read of files, kept between runs in cache.json, each valid until the file is written anew."""

from __future__ import annotations

import atexit
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from modules.paths import data_path

_FILE = Path(data_path) / "cache.json"
_LATER = 5.0  # seconds from a change to its writing: thousands of files may be looked at in a row
_lock = threading.Lock()
_timers: list[threading.Timer] = []  # the one that waits


def _read() -> dict[str, dict[str, Any]]:
    try:
        return json.loads(_FILE.read_text("utf-8"))
    except (OSError, ValueError):
        return {}


_entries = _read()


def _write() -> None:
    with _lock:
        pending = bool(_timers)
        _timers.clear()
        if pending and _FILE.parent.is_dir():  # tests and benches may have removed it before the program ends
            _FILE.write_text(json.dumps(_entries, indent=1), "utf-8")


atexit.register(_write)


def known(subject: str, title: str, filename: str) -> Any:
    """What is kept of a file; None where nothing is or the file is newer. OSError where the file is gone."""
    entry = _entries.get(subject, {}).get(title)
    return entry["value"] if entry and entry["mtime"] >= os.path.getmtime(filename) else None


def cached_data_for_file(subsection: str, title: str, filename: str, func: Callable[[], Any]) -> Any:
    """What is kept of a file, else what `func` returns, which is kept then unless it is None."""
    value = known(subsection, title, filename)
    if value is None and (value := func()) is not None:
        with _lock:
            _entries.setdefault(subsection, {})[title] = {"mtime": os.path.getmtime(filename), "value": value}
            if not _timers:
                _timers.append(threading.Timer(_LATER, _write))
                _timers[0].daemon = True
                _timers[0].start()
    return value
