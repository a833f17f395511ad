"""Pickled model files. A pickle is a program: torch is handed a file only if nothing in it but tensors could be run.

torch's `weights_only` is what keeps code from running, but what it is put to depends on the file: a TorchScript archive
goes to `torch.jit.load` before torch 2.6, and a tar archive to a reader of its own (torch/serialization.py, 2.0.1,
2.1.2 and 2.13.0). So the archive is looked at first, by names alone.
"""

from __future__ import annotations

import inspect
import pickletools
import re
import tarfile
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import torch

from extension_core.errors import DiversityError
from extension_core.weights.file_state import named_errors, state_of, unreadable

_CHOOSE = "choose a safetensors file of the model"
# What `torch.save` writes, from 1.6 to 2.13 (torch/serialization.py and caffe2/serialize/inline_container.cc).
_MEMBER = re.compile(
    r"(?P<root>[^/]+)/(?:data\.pkl|data/\d+|version|byteorder|\.format_version|\.storage_alignment|"
    r"\.data/serialization_id)"
)
_TORCHSCRIPT = re.compile(r"(?:^|/)(?:constants\.pkl$|code/)", re.IGNORECASE)
# What plain files of tensors name: the containers and what torch puts tensors together with.
_PLAIN = re.compile(
    r"collections OrderedDict|torch(?:\.storage)? \w*Storage|torch\._utils _rebuild_\w+|torch\._tensor _rebuild_\w+|"
    r"torch (?:Size|device|Tensor|float\w*|bfloat16|u?int\d*|bool|complex\w*)|torch\.nn\.parameter Parameter|"
    r"torch\.serialization _get_layout|_codecs encode"
)
_LONGEST = 64 << 20  # bytes that are looked through for names; pickles of models name their classes early


def load_tensors(path: Path) -> dict[str, torch.Tensor]:
    """The tensors [...] of a pickled checkpoint by key, mapped where the file's form and the torch version allow it.

    Raises:
        DiversityError: the file is missing, damaged, or holds more than tensors.
    """
    with named_errors(path), path.open("rb") as file:
        zipped = file.read(2) == b"PK"
    _check_archive(path, zipped)
    loaded = _dict(_by_torch(path, zipped))
    state = _dict(loaded.get("state_dict", loaded))
    tensors = {key: value for key, value in state.items() if isinstance(key, str) and isinstance(value, torch.Tensor)}
    if not tensors:
        raise unreadable(path, "it holds no tensors")
    return tensors


def _dict(found: object) -> dict[object, object]:
    return cast("dict[object, object]", found) if isinstance(found, dict) else {}


def _check_archive(path: Path, zipped: bool) -> None:
    if not zipped:
        with named_errors(path):
            is_tar = tarfile.is_tarfile(path)
        if is_tar:
            raise unreadable(path, "it is a tar archive, a form from before 2018 that may run code", _CHOOSE)
        return
    names = _members(path)
    if any(_TORCHSCRIPT.search(name) for name in names):
        raise unreadable(path, "it is a TorchScript program, which is code, and no file of tensors", _CHOOSE)
    found = [_MEMBER.fullmatch(name) for name in names]
    foreign = [name for name, match in zip(names, found, strict=True) if match is None]
    if foreign:
        raise unreadable(path, f"its archive holds '{foreign[0]:.60}', which no file of tensors has", _CHOOSE)
    twice = [name for name, count in Counter(map(str.casefold, names)).items() if count > 1]
    if twice or len({match["root"] for match in found if match}) > 1:
        raise unreadable(path, "its archive holds one part twice, so what is read is anybody's guess", _CHOOSE)


def _members(path: Path) -> list[str]:
    with named_errors(path):
        try:
            with zipfile.ZipFile(path) as archive:
                return [entry.filename for entry in archive.infolist()]
        except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
            raise unreadable(path, "it is no complete archive") from error


def _by_torch(path: Path, zipped: bool) -> Any:
    # Past the host's own check, which knows neither newer files nor every dtype: A1111 puts its `load` in the place of
    # `torch.load` (modules/safe.py, 1.10.1).
    load = torch.serialization.load
    mapped = {"mmap": True} if zipped and "mmap" in inspect.signature(load).parameters else {}
    try:
        with named_errors(path):
            return load(path if not mapped else str(path), map_location="cpu", weights_only=True, **mapped)
    except DiversityError:
        raise
    except Exception as error:  # torch raises half a dozen unrelated types for a bad file
        state_of(path)
        named = next(_foreign_classes(path, zipped), "")
        if named:
            raise unreadable(
                path, f"it names '{named:.80}' beside its tensors, and may run code by it", _CHOOSE
            ) from error
        raise unreadable(path, "it is damaged, or no file of tensors") from error


def _foreign_classes(path: Path, zipped: bool) -> Iterator[str]:
    """What a pickle would have imported that no plain file of tensors needs; found without running any of it."""
    try:
        for name in _imports(_pickled(path, zipped)):
            if not _PLAIN.fullmatch(name):
                yield name.replace(" ", ".", 1)
    except (OSError, ValueError, zipfile.BadZipFile, KeyError, IndexError):
        return


def _pickled(path: Path, zipped: bool) -> bytes:
    if not zipped:
        with path.open("rb") as file:
            return file.read(_LONGEST)
    with zipfile.ZipFile(path) as archive:
        name = next(name for name in archive.namelist() if name.endswith("/data.pkl"))
        with archive.open(name) as member:
            return member.read(_LONGEST)


def _imports(pickled: bytes) -> Iterator[str]:
    """ "module name" of every class or function that is named, in all of the pickles that follow one another.

    STACK_GLOBAL takes the two texts that were put down last, either written out or remembered from before.
    """
    while pickled:
        texts: list[str] = []
        memo: dict[int, str] = {}
        last, end = "", 0
        for opcode, argument, position in pickletools.genops(pickled):
            name, text = opcode.name, ""
            if name == "GLOBAL":
                yield str(argument)
            elif name == "STACK_GLOBAL":
                yield " ".join(texts[-2:])
            elif name == "MEMOIZE":
                memo[len(memo)] = last
            elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
                memo[int(argument or 0)] = last
            elif name in ("GET", "BINGET", "LONG_BINGET"):
                text = memo.get(int(argument or 0), "")
            elif isinstance(argument, str):
                text = argument
            texts += [text] if text else []
            last, end = text, (position or 0) + 1
        pickled = pickled[end:]
