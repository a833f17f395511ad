"""Files that bear a model's name and are something else, told by their names and first bytes."""

from __future__ import annotations

import re
from pathlib import Path

from extension_core.weights.file_state import unreadable

LOOKED_AT = 64
_FETCH = "download the model itself"
_LOG_IN = f"{_FETCH}; log in where its site asks"
# First bytes, what such a file is, and what to do. Case does not matter, nor does space before them.
_BEGINNINGS: tuple[tuple[tuple[bytes, ...], str, str], ...] = (
    ((b"<!doctype", b"<html", b"<?xml", b"<head"), "it is a web page", _LOG_IN),
    ((b"version https://git-lfs",), "it is a Git LFS pointer in place of the model", f"run 'git lfs pull' or {_FETCH}"),
    (
        (b'{"error', b'{"message', b"entry not found", b"invalid username", b"access to model", b"unauthorized"),
        "it is a site's refusal in place of the model",
        _LOG_IN,
    ),
)
_MAGIC: tuple[tuple[bytes, str, str], ...] = (
    (b"GGUF", "it is a GGUF file, whose weights are quantised", "choose a safetensors file of the model"),
    (b"\x89HDF\r\n", "it is an HDF5 file", "choose a safetensors file of the model"),
    (b"\x1f\x8b", "it is compressed by gzip", "unpack it"),
    (b"7z\xbc\xaf", "it is a 7-Zip archive", "unpack it"),
    (b"Rar!", "it is a RAR archive", "unpack it"),
    (b"\x89PNG", "it is a picture", "choose a model"),
    (b"\xff\xd8\xff", "it is a picture", "choose a model"),
)
# diffusers and transformers save large models as `<name>-00001-of-00002.safetensors` and an index.
_PART = re.compile(r"-(?P<number>\d{5})-of-(?P<parts>\d{5})$")
_PICKLED = (b"PK\x03\x04", b"\x80\x02", b"\x80\x04")


def part_of(path: Path) -> tuple[int, int] | None:
    """(number from 1, how many parts there are) of a file that holds a part of a model, by its name."""
    found = _PART.search(path.stem)
    number, parts = (int(found["number"]), int(found["parts"])) if found else (1, 1)
    return (number, parts) if parts > 1 else None


def check_no_disguise(path: Path, begin: bytes, is_pickle: bool) -> None:
    """Say what a file is that cannot be a model.

    Args:
        begin: its first bytes, `LOOKED_AT` of them if it has so many.
        is_pickle: whether its name says that it is a pickle.

    Raises:
        DiversityError: it is something that is known.
    """
    if (part := part_of(path)) is not None:
        raise unreadable(
            path, f"it is part {part[0]} of {part[1]} of a model", "download the model as one file, or join its parts"
        )
    if _begins_as_safetensors(begin):
        if is_pickle:
            raise unreadable(path, f"it is a safetensors file called {path.suffix}", "call it .safetensors")
        return
    text = begin.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    for beginnings, found, remedy in _BEGINNINGS:
        if text.startswith(beginnings):
            raise unreadable(path, found, remedy)
    for magic, found, remedy in _MAGIC:
        if begin.startswith(magic):
            raise unreadable(path, found, remedy)
    if not is_pickle and begin.startswith(_PICKLED):
        raise unreadable(path, f"it is a pickled checkpoint called {path.suffix}", "call it .ckpt")


def _begins_as_safetensors(begin: bytes) -> bool:
    """A length of eight bytes, which may by chance be another kind's mark, and a JSON object."""
    return begin[8:10] == b'{"' and int.from_bytes(begin[:8], "little") < 1 << 32
