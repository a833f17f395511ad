"""Files that bear a model's name and are something else."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from extension_core.errors import DiversityError
from extension_core.weights.reader import read_header

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 6938078334\n"
FOUND: dict[str, tuple[str, bytes, str]] = {
    "a page": ("m.safetensors", b"<!DOCTYPE html><html>" + b" " * 99, "it is a web page"),
    "a page after an empty line": ("m.safetensors", b"\r\n  <HTML>" + b" " * 99, "it is a web page"),
    "a page as a pickle": ("m.ckpt", b"<!doctype html>" + b" " * 99, "it is a web page"),
    "a pointer": ("m.safetensors", POINTER, "it is a Git LFS pointer in place of the model; run 'git lfs pull'"),
    "a site's refusal": ("m.safetensors", b'{"error":"Unauthorized"}', "it is a site's refusal"),
    "a site's plain refusal": ("m.safetensors", b"Invalid username or password.", "it is a site's refusal"),
    "GGUF": ("m.safetensors", b"GGUF" + bytes(100), "it is a GGUF file, whose weights are quantised"),
    "a picture": ("m.pt", b"\x89PNG\r\n\x1a\n" + bytes(100), "it is a picture"),
    "7-Zip": ("m.safetensors", b"7z\xbc\xaf\x27\x1c" + bytes(100), "it is a 7-Zip archive; unpack it"),
}


@pytest.mark.parametrize("case", FOUND)
def test_each_is_called_what_it_is(case: str, tmp_path: Path) -> None:
    name, content, sentence = FOUND[case]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DiversityError) as caught:
        read_header(tmp_path / name)
    assert sentence in str(caught.value)
    assert str(caught.value).startswith(f"The distilled model '{name}' cannot be read: ")


def test_formats_under_each_others_names(tmp_path: Path) -> None:
    pickled, plain = tmp_path / "m.safetensors", tmp_path / "m.ckpt"
    for new in (True, False):
        torch.save({"a": torch.ones(2)}, pickled, _use_new_zipfile_serialization=new)
        with pytest.raises(DiversityError, match=r"a pickled checkpoint called \.safetensors; call it \.ckpt"):
            read_header(pickled)
    save_file({"a": torch.ones(2)}, plain)
    with pytest.raises(DiversityError, match=r"a safetensors file called \.ckpt; call it \.safetensors"):
        read_header(plain)


@pytest.mark.parametrize("length", [0x0280, 0x0480])
def test_a_header_as_long_as_another_kinds_mark_is_a_header(length: int, tmp_path: Path) -> None:
    """Its length comes first in the file: 640 bytes begin as a pickle does."""
    path = tmp_path / "m.safetensors"
    save_file({"a": torch.ones(2)}, path, metadata={"x": ""})
    more = length - int.from_bytes(path.read_bytes()[:8], "little")
    save_file({"a": torch.ones(2)}, path, metadata={"x": "y" * more})
    assert path.read_bytes()[:2] == length.to_bytes(2, "little")
    assert dict(read_header(path).shapes) == {"a": (2,)}
