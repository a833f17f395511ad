"""Reading a model file tensor by tensor, without running anything it may contain."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import safetensors
import torch

from extension_core.errors import DiversityError

PICKLE_SUFFIXES = (".ckpt", ".pt", ".bin", ".pth")


class TensorSource(Protocol):
    """An open model file."""

    def keys(self) -> Iterable[str]:
        """Keys of all tensors."""
        ...

    def get(self, key: str) -> torch.Tensor:
        """The tensor stored under `key`, on the CPU."""
        ...


@dataclass(frozen=True)
class Header:
    """What a file says before its tensors are read.

    Attributes:
        shapes: shape of every tensor by key.
        metadata: the safetensors metadata, {} for other formats.
    """

    path: Path
    shapes: Mapping[str, tuple[int, ...]]
    metadata: Mapping[str, str]


def _unreadable(path: Path, found: str) -> DiversityError:
    return DiversityError(f"The distilled model '{path.name}' cannot be read: {found}; download or convert it again.")


def _missing(path: Path) -> DiversityError:
    return DiversityError(f"The distilled model '{path.name}' is missing: no such file; choose another one.")


@contextmanager
def open_tensors(path: Path) -> Iterator[TensorSource]:
    """Open a model file for reading.

    Raises:
        DiversityError: the file is missing, truncated, not a model, or a pickle that holds more than tensors.
    """
    if not path.is_file():
        raise _missing(path)
    if path.suffix.lower() in PICKLE_SUFFIXES:
        yield _Pickled(_load_pickle(path))
        return
    try:
        handle = safetensors.safe_open(path, framework="pt", device="cpu")
    except (safetensors.SafetensorError, OSError, ValueError) as error:  # pyright: ignore[reportAttributeAccessIssue]
        raise _unreadable(path, f"it is no complete safetensors file ({error})") from error
    with handle as opened:  # pyright: ignore[reportGeneralTypeIssues]
        yield _Safetensors(opened, path)


def read_header(path: Path) -> Header:
    """Names, shapes and metadata of a model file; the last few are remembered while their files stay as they are.

    Raises:
        DiversityError: as `open_tensors`.
    """
    try:
        stat = path.stat()
    except OSError:
        raise _missing(path) from None
    return _read_header(path, stat.st_mtime_ns, stat.st_size)


@functools.lru_cache(maxsize=8)
def _read_header(path: Path, _changed: int, _size: int) -> Header:
    """Pickles have no header: without remembering, every change on the page would load them."""
    with open_tensors(path) as source:
        if isinstance(source, _Pickled):
            return Header(path, {key: tuple(tensor.shape) for key, tensor in source.tensors.items()}, {})
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        parsed: dict[str, Any] = json.loads(file.read(length))
    metadata = parsed.pop("__metadata__", {})
    return Header(path, {key: tuple(entry["shape"]) for key, entry in parsed.items()}, metadata)


class _Safetensors:
    def __init__(self, handle: Any, path: Path) -> None:
        self._handle = handle
        self._path = path

    def keys(self) -> Iterable[str]:
        return self._handle.keys()

    def get(self, key: str) -> torch.Tensor:
        try:
            return self._handle.get_tensor(key)
        except (safetensors.SafetensorError, OSError) as error:  # pyright: ignore[reportAttributeAccessIssue]
            raise _unreadable(self._path, f"'{key}' cannot be read ({error})") from error


class _Pickled:
    def __init__(self, tensors: Mapping[str, torch.Tensor]) -> None:
        self.tensors = tensors

    def keys(self) -> Iterable[str]:
        return self.tensors

    def get(self, key: str) -> torch.Tensor:
        return self.tensors[key]


def _load_pickle(path: Path) -> dict[str, torch.Tensor]:
    # Past the host's own check, which knows neither newer files nor every dtype: A1111 puts its `load` in the place of
    # `torch.load` (modules/safe.py, 1.10.1). What keeps code from running is torch's own `weights_only`.
    try:
        loaded = torch.serialization.load(path, map_location="cpu", weights_only=True, mmap=_is_zip(path))
    except Exception as error:  # torch raises half a dozen unrelated types for a bad file
        first_line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise _unreadable(path, f"it is not a plain file of tensors ({first_line:.120})") from error
    state = loaded.get("state_dict", loaded) if isinstance(loaded, dict) else {}
    tensors = {key: value for key, value in state.items() if isinstance(value, torch.Tensor)}
    if not tensors:
        raise _unreadable(path, "it holds no tensors")
    return tensors


def _is_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"PK"
