"""Which content a model file has, and why there may be none: files move and change while a host runs."""

from __future__ import annotations

import errno
import stat
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from extension_core.errors import DiversityError

_CHOOSE = "choose another one"
_FETCH = "download or convert it again"


@dataclass(frozen=True)
class FileState:
    """Equal while nobody has written to the file or put another in its place.

    Attributes:
        size: in bytes.
        written: when, in ns, as far as whoever wrote it wants it to be known.
        touched: when the file system last noted a change, in ns; no copying program can set it back.
        number: the file system's own for this file. Network drives may give it anew, so it is no part of what is equal.
    """

    size: int
    written: int
    touched: int
    number: int = field(default=0, compare=False)


def state_of(path: Path) -> FileState:
    """What a file is now.

    Raises:
        DiversityError: there is no file that can be read; says what is there instead.
    """
    with named_errors(path):
        found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        what = "a folder" if stat.S_ISDIR(found.st_mode) else "no ordinary file"
        raise unreadable(path, f"it is {what}", _CHOOSE)
    return FileState(found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)


def check_unchanged(path: Path, state: FileState) -> None:
    """Refuse a file that is not what it was when a request was settled on it.

    Whoever writes to a file while it is read moves its time on, and another file in its place, even one of the same
    size and time, has another number and was touched at another time. What else a file system may note of a file (a
    virus scanner was there) is no reason to refuse, only one to read it anew for the next request.

    Raises:
        DiversityError: it was changed, or is gone.
    """
    now = state_of(path)
    replaced = now.number != state.number and now.touched != state.touched
    if replaced or (now.size, now.written) != (state.size, state.written):
        raise DiversityError(
            f"The distilled model '{path.name}' was changed on the disk while it was about to be read; try again once "
            "it is copied or downloaded."
        )


@contextmanager
def unchanged(path: Path, state: FileState) -> Generator[None, None, None]:
    """While a file is read that was looked at before.

    Raises:
        DiversityError: it is not, or is no longer, what it was then.
    """
    check_unchanged(path, state)
    yield
    check_unchanged(path, state)


@contextmanager
def named_errors(path: Path) -> Generator[None, None, None]:
    """While the system is asked for a model file: what it says of that is no sentence for users.

    Raises:
        DiversityError: in place of an `OSError`.
    """
    try:
        yield
    except OSError as error:
        raise _refusal(path, error) from error


def _refusal(path: Path, error: OSError) -> DiversityError:
    if error.errno == errno.ELOOP:
        return unreadable(path, "its link leads in a circle", f"mend the link or {_CHOOSE}")
    if error.errno in (errno.EACCES, errno.EPERM):
        return unreadable(path, "this WebUI is not allowed to read it", f"allow it or {_CHOOSE}")
    if error.errno == errno.EISDIR:
        return unreadable(path, "it is a folder", _CHOOSE)
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return _missing(path)
    return unreadable(path, f"the disk answers '{error.strerror or type(error).__name__}'", _FETCH)


def _missing(path: Path) -> DiversityError:
    found, remedy = "no such file", _CHOOSE
    if _is_link(path):
        found, remedy = "its link leads to a file that is not there", f"mend the link or {_CHOOSE}"
    return DiversityError(f"The distilled model '{path.name}' is missing: {found}; {remedy}.")


def _is_link(path: Path) -> bool:
    try:
        return path.is_symlink()
    except OSError:
        return False


def unreadable(path: Path, found: str, remedy: str = _FETCH) -> DiversityError:
    """The refusal of a file that is there."""
    return DiversityError(f"The distilled model '{path.name}' cannot be read: {found}; {remedy}.")
