"""Files that are there whole or as they were before, whatever ends the process."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import IO

from extension_core.errors import DiversityError


def write_whole(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Write a file that is there whole or as it was before.

    Raises:
        DiversityError: the disk has no room, or the folder cannot be written to.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f".{path.name}.{os.getpid()}")  # as readable as the user's other files
        try:
            with beside.open("wb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise DiversityError(
            f"{path} cannot be written ({error.strerror or error}); what was saved before is whole, make room or "
            "choose another folder and start again."
        ) from error
