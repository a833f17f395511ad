"""Model files that are not there, not whole or not the same any more: one sentence for each, never the system's words.

Permissions are tried as another user where the tests run as root, which is allowed everything.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from extension_core.errors import DiversityError
from extension_core.weights.choices import unet_choices, unet_folders
from extension_core.weights.file_state import check_unchanged, state_of
from extension_core.weights.lora_file import lora_tensors, read_lora
from extension_core.weights.reader import open_tensors, read_header
from extension_core.weights.selection import Selection, Style, open_origin

TENSORS = {"a.weight": torch.arange(600.0).reshape(20, 30), "b": torch.ones(4)}
OTHERS = {name: tensor + 1 for name, tensor in TENSORS.items()}
NOBODY = 65534


@pytest.fixture
def path(tmp_path: Path) -> Path:
    save_file(TENSORS, tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


def _cut(path: Path, share: float) -> None:
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _link(path: Path, target: Path) -> None:
    path.unlink()
    path.symlink_to(target)


def _longer(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0" * 40)


def _header(text: bytes) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(len(text).to_bytes(8, "little") + text + b"\0" * 64) and None


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "deleted": (Path.unlink, "is missing: no such file; choose another one."),
    "a folder": (_folder, "cannot be read: it is a folder; choose another one."),
    "a pipe": (_fifo, "cannot be read: it is no ordinary file; choose another one."),
    "a link in a circle": (lambda path: _link(path, path), "its link leads in a circle; mend the link or choose"),
    "a link to nothing": (lambda path: _link(path, path.with_name("no")), "missing: its link leads to a file that is"),
    "a file for a folder": (lambda path: _link(path, Path(__file__) / "model"), "is missing: its link leads to"),
    "empty": (lambda path: path.write_bytes(b""), "(its header is not there)"),
    "a few bytes": (lambda path: path.write_bytes(b"\x10\0\0"), "(its header is not there)"),
    "half a header": (lambda path: path.write_bytes(path.read_bytes()[:40]), "(its header is not there)"),
    "half copied": (lambda path: _cut(path, 0.5), "bytes are there); wait until it is copied or downloaded"),
    "almost copied": (lambda path: _cut(path, 0.999), "bytes are there); wait until it is copied or downloaded"),
    "zeros": (lambda path: path.write_bytes(b"\0" * path.stat().st_size), "(its header is not there)"),
    "no JSON": (_header(b'{"a": '), "(its header is no JSON)"),
    "a list": (_header(b"[1, 2]"), "(its header names no tensors)"),
    "no offsets": (_header(b'{"a": {"dtype": "F32", "shape": [2]}}'), "is no complete safetensors file"),
    "no entry": (_header(b'{"a": 7}'), "is no complete safetensors file"),
    "offsets of words": (
        _header(json.dumps({"a": {"dtype": "F32", "shape": [1], "data_offsets": ["x", "y"]}}).encode()),
        "is no complete safetensors file",
    ),
    "longer than it says": (_longer, "is no complete safetensors file"),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_is_wrong_with_a_file_is_said(path: Path, kind: str) -> None:
    spoil, said = BAD[kind]
    spoil(path)
    for ask in (read_header, lambda file: open_tensors(file).__enter__()):
        with pytest.raises(DiversityError, match=r"^The distilled model 'model\.safetensors' ") as caught:
            ask(path)
        sentence = str(caught.value)
        assert said in sentence
        assert sentence.endswith(".")
        assert "\n" not in sentence
        assert "Errno" not in sentence
        assert str(path.parent) not in sentence


@contextmanager
def not_root() -> Iterator[None]:
    """As a user who is not allowed everything."""
    if os.geteuid():
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that everybody may look into, which pytest's are not."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


@pytest.mark.parametrize("suffix", ["safetensors", "ckpt"])
@pytest.mark.parametrize("closed", ["file", "folder"])
def test_a_file_that_may_not_be_read(open_folder: Path, closed: str, suffix: str) -> None:
    folder = open_folder / "models"
    folder.mkdir()
    file = folder / f"model.{suffix}"
    save_file(TENSORS, file) if suffix == "safetensors" else torch.save(TENSORS, file)
    (file if closed == "file" else folder).chmod(0)
    with not_root(), pytest.raises(DiversityError) as caught:
        read_header(file)
    assert str(caught.value) == (
        f"The distilled model 'model.{suffix}' cannot be read: this WebUI is not allowed to read it; allow it or "
        "choose another one."
    )
    with not_root():
        assert unet_choices([folder], []) == ([] if closed == "folder" else unet_choices([folder], []))
        assert unet_folders(folder / "none") == []
    folder.chmod(0o755)
    file.chmod(0o644)
    assert read_header(file).shapes["a.weight"] == (20, 30)


def later_than(path: Path) -> None:
    """Come back when a file written now has another time; file systems count in steps of some milliseconds."""
    probe = path.with_name("probe")
    while True:
        probe.write_bytes(b"")
        if probe.stat().st_ctime_ns > path.stat().st_ctime_ns:
            return


CHANGES: dict[str, Callable[[Path], object]] = {
    "another in its place": lambda path: save_file(OTHERS, path),
    "of the same size and time": lambda path: _in_place_at_the_same_time(path),
    "touched": lambda path: os.utime(path),
    "longer": _longer,
}


def _in_place_at_the_same_time(path: Path) -> None:
    stat, other = path.stat(), path.with_name("other.safetensors")
    save_file(OTHERS, other)
    assert other.stat().st_size == stat.st_size
    path.write_bytes(other.read_bytes())
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_changed_is_another_model(path: Path, change: str) -> None:
    before = read_header(path)
    later_than(path)
    CHANGES[change](path)
    if change == "longer":
        with pytest.raises(DiversityError, match="cannot be read"):
            read_header(path)
        return
    after = read_header(path)
    assert Selection(after, False).key(False) != Selection(before, False).key(False)
    with open_tensors(after) as source:
        expected = TENSORS if change == "touched" else OTHERS
        assert torch.equal(source.get("a.weight"), expected["a.weight"])


@pytest.mark.parametrize("change", [change for change in CHANGES if change != "of the same size and time"])
@pytest.mark.parametrize("moment", ["before", "meanwhile"])
def test_a_file_that_changes_between_its_check_and_its_end(path: Path, change: str, moment: str) -> None:
    """What of the model was read by then is not used."""
    header, read = read_header(path), []
    later_than(path)

    def whole() -> None:
        if moment == "before":
            CHANGES[change](path)
        with open_tensors(header) as source:
            read.append(source.get("b"))
            if moment == "meanwhile":
                replacement = shutil.copy(path, path.with_name("new.safetensors"))
                CHANGES[change](Path(replacement))
                Path(replacement).replace(path)

    with pytest.raises(DiversityError, match=r"'model\.safetensors' was changed on the disk while it was about to be"):
        whole()
    assert len(read) == (moment == "meanwhile")


def test_another_file_of_the_same_size_and_time_is_another(path: Path) -> None:
    """As two downloads finished in one tick of a coarse clock, or a copy that keeps the time."""
    state, other = state_of(path), path.with_name("other.safetensors")
    later_than(path)
    save_file(OTHERS, other)
    os.utime(other, ns=(state.written, state.written))
    other.replace(path)
    assert (state_of(path).size, state_of(path).written) == (state.size, state.written)
    with pytest.raises(DiversityError, match="was changed on the disk"):
        check_unchanged(path, state)


def test_a_number_that_changes_by_itself_is_no_other_file(path: Path) -> None:
    """Some network drives number their files anew at every look."""
    state = replace(state_of(path), number=state_of(path).number + 1)
    assert state == state_of(path)
    check_unchanged(path, state)


def test_an_origin_is_named_as_such(path: Path) -> None:
    carry = Style(read_header(path), 1.0)
    with open_origin(carry) as source:
        assert torch.equal(source.get("b"), TENSORS["b"])
    later_than(path)
    save_file(OTHERS, path)
    with pytest.raises(DiversityError, match=r"^The origin to carry from 'model\.safetensors' was changed"):
        open_origin(carry).__enter__()
    path.unlink()
    with pytest.raises(DiversityError, match=r"^The origin to carry from 'model\.safetensors' is missing"):
        open_origin(carry).__enter__()


def test_a_lora_is_read_as_it_was_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "lora.safetensors"
    tensors = {f"lora_unet_x.lora_{side}.weight": torch.ones(2, 2) for side in ("up", "down")}
    save_file(tensors, path)
    lora = read_lora(read_header(path), [])
    assert lora_tensors(lora)
    later_than(path)
    save_file({name: tensor + 1 for name, tensor in tensors.items()}, path)
    with pytest.raises(DiversityError, match="was changed on the disk"):
        lora_tensors(lora)


def test_the_same_state_as_long_as_nothing_is_done_to_a_file(path: Path) -> None:
    state = state_of(path)
    read_header(path)
    with open_tensors(path) as source:
        source.get("b")
    check_unchanged(path, state)


def test_links_that_lead_nowhere_or_back_are_no_choices(tmp_path: Path) -> None:
    """Nor does a folder that holds itself hold the walk up; each file is there once."""
    models = tmp_path / "unet"
    (models / "inner" / "deep").mkdir(parents=True)
    save_file(TENSORS, models / "inner" / "good.safetensors")
    (models / "circle.safetensors").symlink_to(models / "circle.safetensors")
    (models / "nothing.safetensors").symlink_to(models / "gone")
    os.mkfifo(models / "pipe.safetensors")
    (models / "folder.safetensors").mkdir()
    for back in ("up", "again", "once more"):
        (models / "inner" / "deep" / back).symlink_to(models, target_is_directory=True)
    (models / "inner" / "deep" / "round").symlink_to(models / "inner" / "deep" / "round")
    (tmp_path / "diffusers").symlink_to(tmp_path / "diffusers")
    assert unet_folders(tmp_path) == [models]
    listed = [models / "circle.safetensors", models / "was here.safetensors"]
    assert [choice.label for choice in unet_choices([models], listed)] == ["U-Net: inner/good.safetensors"]
