"""Archives of pickles that hold more than tensors, or something else, and what is said of them."""

from __future__ import annotations

import collections
import io
import pickle
import tarfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from extension_core.errors import DiversityError
from extension_core.weights import pickles
from extension_core.weights.reader import open_tensors

TENSORS = {"a.weight": torch.arange(6.0).reshape(2, 3), "b": torch.ones(4, dtype=torch.float16)}


class _Adds(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.weight


def torchscript(path: Path) -> None:
    torch.jit.script(_Adds()).save(str(path))


def tar(path: Path) -> None:
    with tarfile.open(path, "w") as archive:
        for name in ("sys_info", "pickle", "storages", "tensors"):
            content = pickle.dumps({}, protocol=2)
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))


def with_member(name: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        torch.save(TENSORS, path)
        with zipfile.ZipFile(path, "a") as archive, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            archive.writestr(name.format(archive.namelist()[0].split("/")[0]), b"")

    return write


def object_of(value: Any) -> Callable[[Path], None]:
    return lambda path: torch.save({"state_dict": TENSORS, "more": value}, path)


class Cache(dict[str, Any]):
    """A class of a trainer's own."""


REFUSED: dict[str, tuple[Callable[[Path], None], str]] = {
    "TorchScript": (torchscript, "it is a TorchScript program, which is code, and no file of tensors"),
    "a TorchScript's mark in other letters": (with_member("{}/CONSTANTS.PKL"), "it is a TorchScript program"),
    "TorchScript's code": (with_member("{}/code/__torch__.py"), "it is a TorchScript program"),
    "a tar archive": (tar, "it is a tar archive, a form from before 2018 that may run code"),
    "another file": (with_member("{}/extra.py"), "/extra.py', which no file of tensors has"),
    "a file of another root": (with_member("other/data/0"), "holds one part twice"),
    "one part twice": (with_member("{}/data.pkl"), "holds one part twice"),
    "one part in other letters": (with_member("{}/VERSION"), "VERSION', which no file of tensors has"),
    "a path upwards": (with_member("../data/0"), "holds"),
    "a class": (object_of(Cache()), "test_pickles.Cache' beside its tensors, and may run code by it"),
    "a function": (object_of(collections.namedtuple), "it names 'collections.namedtuple' beside its tensors"),
    "no pickle": (lambda path: path.write_bytes(b"PK" + bytes(1000)), "it is no complete archive"),
    "a page": (lambda path: path.write_bytes(b"<!DOCTYPE html>" * 99), "it is a web page; download the model itself"),
    "noise": (lambda path: path.write_bytes(bytes(range(256)) * 99), "it is damaged, or no file of tensors"),
    "nothing of a model": (lambda path: torch.save([1, 2], path), "it holds no tensors"),
    "no names": (lambda path: torch.save({1: torch.ones(2)}, path), "it holds no tensors"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_plain_file_of_tensors_is_refused(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In our words, and with nothing of it run: torch's reader of programs is never come to."""
    write, sentence = REFUSED[case]
    path = tmp_path / "m.ckpt"
    write(path)
    monkeypatch.setattr(torch.jit, "load", lambda *_, **__: pytest.fail("a program was loaded"))
    with pytest.raises(DiversityError) as caught, open_tensors(path):
        pass
    said = str(caught.value)
    assert sentence in said
    assert said.startswith("The distilled model 'm.ckpt' cannot be read: ")
    assert said.count("\n") == 0
    assert "weights_only" not in said


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("protocol", [2, 4])
def test_the_class_is_named_whatever_the_protocol(zipped: bool, protocol: int, tmp_path: Path) -> None:
    path = tmp_path / "m.pt"
    torch.save({**TENSORS, "x": Cache()}, path, pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)
    with pytest.raises(DiversityError, match=r"test_pickles\.Cache"), open_tensors(path):
        pass


def test_what_torch_saves_is_read(tmp_path: Path) -> None:
    """Every number type and way of being laid out, in both forms."""
    held = {
        **{str(dtype): torch.ones(3, dtype=dtype) for dtype in (torch.float64, torch.bfloat16, torch.int8, torch.bool)},
        "a parameter": torch.nn.Parameter(torch.ones(2)),
        "a view": torch.arange(12.0).reshape(3, 4)[:, 1:3],
        "transposed": torch.arange(6.0).reshape(2, 3).T,
        "of no size": torch.ones(0),
    }
    for zipped in (True, False):
        path = tmp_path / f"{zipped}.pt"
        checkpoint = {"state_dict": collections.OrderedDict(held), "epoch": 3, "note": "x", "size": torch.Size([2])}
        torch.save(checkpoint, path, _use_new_zipfile_serialization=zipped)
        with open_tensors(path) as source:
            assert set(source.keys()) == set(held)
            assert all(torch.equal(source.get(key), tensor) for key, tensor in held.items())


def test_a_torch_that_maps_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """torch 2.0 knows no `mmap`."""
    path = tmp_path / "m.ckpt"
    torch.save(TENSORS, path)
    new = torch.serialization.load

    def old(f: Any, map_location: Any = None, *, weights_only: bool = False) -> Any:
        return new(f, map_location=map_location, weights_only=weights_only)

    monkeypatch.setattr(torch.serialization, "load", old)
    assert set(pickles.load_tensors(path)) == set(TENSORS)
