"""Whether a file may have come into folders, gone or been renamed, without looking at thousands of files each time."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path


class Folders:
    """Some folders and all below them, as they were when somebody asked last."""

    def __init__(self) -> None:
        self._times: Mapping[str, int] = {}

    def have_changed(self, folders: Iterable[Path]) -> bool:
        """Whether any is another than it was at the last call; also at the first one. A folder changes with what it
        lists, not with what its files hold.
        """
        wished = [str(folder) for folder in folders]
        known = self._times
        if all(folder in known for folder in wished) and all(_time(folder) == known[folder] for folder in known):
            return False
        # Asked before its files are looked at, so that what comes meanwhile is a change for the next call.
        self._times = {inner: _time(inner) for folder in wished for inner in (folder, *_below(folder))}
        return True


def _time(folder: str) -> int:
    """Nanoseconds; -1 where there is no folder or it may not be looked at."""
    try:
        return os.stat(folder).st_mtime_ns  # noqa: PTH116 - as text, for speed
    except OSError:
        return -1


def _below(folder: str) -> Iterable[str]:
    """Links are followed, each folder once, so that one that leads back ends."""
    walked: set[str] = set()
    for root, inner, _names in os.walk(folder, followlinks=True):
        real = os.path.realpath(root)
        if real in walked:
            inner.clear()
        else:
            walked.add(real)
            yield from (os.path.join(root, name) for name in inner)  # noqa: PTH118 - as above
