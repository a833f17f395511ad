"""Reading a model file tensor by tensor, without running anything it may contain."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeGuard, cast

import safetensors
import torch

from extension_core.options.model_names import PICKLE_SUFFIXES
from extension_core.weights.disguised import LOOKED_AT, check_no_disguise
from extension_core.weights.file_state import FileState, named_errors, state_of, unchanged, unreadable
from extension_core.weights.pickles import load_tensors
from extension_core.weights.scaled import Stored, scales_in, unscaled

_LONGEST_HEADER = 100_000_000  # bytes; the library's own limit (safetensors/src/tensor.rs, 0.4.5)
# What the library raises of a damaged file; its types leave it out.
_DAMAGED: type[Exception] = vars(safetensors)["SafetensorError"]


class TensorSource(Protocol):
    """An open model file."""

    def keys(self) -> Iterable[str]:
        """Keys of all tensors."""
        ...

    def get(self, key: str) -> torch.Tensor:
        """The tensor [...] stored under `key`, on the CPU in the file's number type, scaled 8-bit ones in float32."""
        ...


@dataclass(frozen=True)
class Header:
    """What a file says before its tensors are read.

    Attributes:
        shapes: shape of every tensor by key.
        metadata: the safetensors metadata, {} for other formats.
        state: of the file when it was asked.
    """

    path: Path
    shapes: Mapping[str, tuple[int, ...]]
    metadata: Mapping[str, str]
    state: FileState


@contextmanager
def open_tensors(file: Path | Header) -> Generator[TensorSource, None, None]:
    """Open a model file for reading.

    Args:
        file: where it is; or what it has said of itself, if it must still be that file, also after its last tensor.

    Raises:
        DiversityError: the file is missing, truncated, not a model, or a pickle that holds more than tensors.
    """
    if isinstance(file, Header):
        with unchanged(file.path, file.state), open_tensors(file.path) as source:
            yield source
        return
    state_of(file)
    is_pickle = file.suffix.lower() in PICKLE_SUFFIXES
    if is_pickle:
        with named_errors(file), file.open("rb") as opened:
            check_no_disguise(file, opened.read(LOOKED_AT), is_pickle)
        yield _Pickled(load_tensors(file))
        return
    parsed = _whole_header(file)
    try:
        handle: Any = safetensors.safe_open(file, framework="pt", device="cpu")
    except (_DAMAGED, OSError, ValueError) as error:
        state_of(file)
        raise unreadable(file, "it is no complete safetensors file (its header contradicts itself)") from error
    with handle as tensors:
        yield _Safetensors(tensors, file, parsed)


def read_header(path: Path) -> Header:
    """Names, shapes and metadata of a model file; the last few are remembered while their files stay as they are.

    Raises:
        DiversityError: as `open_tensors`.
    """
    return _remembered_header(path, state_of(path))


@functools.lru_cache(maxsize=8)
def _remembered_header(path: Path, state: FileState) -> Header:
    """Pickles have no header: without remembering, every change on the page would load them."""
    return header_of(path, state)


def header_of(path: Path, state: FileState) -> Header:
    """The same, read now and not remembered: whoever looks through a folder leaves those in use where they are.

    Args:
        state: that the file was found in.
    """
    with open_tensors(path) as source:
        if not isinstance(source, _Safetensors):
            return Header(path, {key: tuple(source.get(key).shape) for key in source.keys()}, {}, state)  # noqa: SIM118
        shapes = {key: found.shape for key, found in source.stored.items() if key not in source.scales.hidden}
        return Header(path, shapes, source.metadata, state)


def _parsed(path: Path) -> tuple[dict[str, Any], int, int]:
    """(a safetensors file's header, where its tensors begin, bytes in the file)."""
    with named_errors(path), path.open("rb") as file:
        start = file.read(LOOKED_AT)
        check_no_disguise(path, start, is_pickle=False)
        length, size = int.from_bytes(start[:8], "little"), os.fstat(file.fileno()).st_size
        if len(start) < 8 or not 1 < length <= min(size - 8, _LONGEST_HEADER):
            raise unreadable(path, "it is no complete safetensors file (its header is not there)")
        file.seek(8)
        text = file.read(length)
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise unreadable(path, "it is no complete safetensors file (its header is no JSON)") from error
    if not isinstance(parsed, dict):
        raise unreadable(path, "it is no complete safetensors file (its header names no tensors)")
    return cast("dict[str, Any]", parsed), 8 + length, size


def _whole_header(path: Path) -> dict[str, Any]:
    """The header of a file that is all there; everything else is left to its reader.

    Raises:
        DiversityError: it is still being copied; how much of it is there.
    """
    parsed, begin, size = _parsed(path)
    entries = [cast("object", entry) for name, entry in parsed.items() if name != "__metadata__"]
    spans = [cast("dict[str, object]", entry).get("data_offsets") for entry in entries if isinstance(entry, dict)]
    whole = begin + max((span[1] for span in spans if _is_span(span)), default=0)
    if size < whole:
        raise unreadable(
            path,
            f"it is no complete safetensors file ({size:,} of {whole:,} bytes are there)",
            "wait until it is copied or downloaded, or download it again",
        )
    return parsed


def _is_span(found: object) -> TypeGuard[list[int]]:
    ends = cast("list[object]", found) if isinstance(found, list) else []
    return len(ends) == 2 and all(isinstance(end, int) for end in ends)


class _Safetensors:
    """Attributes: stored: what the header tells of each tensor, those included that only say how to read others."""

    def __init__(self, handle: Any, path: Path, parsed: Mapping[str, Any]) -> None:
        """Take a header that the library has accepted."""
        self._handle = handle
        self._path = path
        self.metadata: Mapping[str, str] = parsed.get("__metadata__") or {}
        self.stored = {
            key: Stored(str(entry["dtype"]), tuple(entry["shape"]))
            for key, entry in parsed.items()
            if key != "__metadata__"
        }
        self.scales = scales_in(path, self.stored)

    def keys(self) -> Iterable[str]:
        return [key for key in self.stored if key not in self.scales.hidden]

    def get(self, key: str) -> torch.Tensor:
        scale = self.scales.of.get(key)
        return self._read(key) if scale is None else unscaled(self._read(key), self._read(scale))

    def _read(self, key: str) -> torch.Tensor:
        try:
            return self._handle.get_tensor(key)
        except (_DAMAGED, OSError) as error:
            raise unreadable(self._path, f"'{key}' cannot be read from it") from error


class _Pickled:
    def __init__(self, tensors: Mapping[str, torch.Tensor]) -> None:
        self.tensors = tensors

    def keys(self) -> Iterable[str]:
        return self.tensors

    def get(self, key: str) -> torch.Tensor:
        return self.tensors[key]
