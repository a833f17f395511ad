"""What becomes of a model file while a WebUI runs: each event as steps that the test or the WebUI itself can make."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import load_file, save_file

Step = tuple[str, str, str]


@dataclass(frozen=True)
class Becomes:
    """What a request that needs the file comes to afterwards.

    Attributes:
        content: "same" or "other": the image with the content that the file has then; "" if it is refused.
        said: part of the refusal's sentence.
    """

    content: str
    said: str = ""


EVENTS: dict[str, Becomes] = {
    "deleted": Becomes("", "is missing: no such file"),
    "moved": Becomes("", "is missing: no such file"),
    "its folder renamed": Becomes("", "is missing: no such file"),
    "back again": Becomes("same"),
    "touched": Becomes("same"),
    "another in its place": Becomes("other"),
    "written over, of one size and time": Becomes("other"),
    "half copied": Becomes("", "bytes are there)"),
    "begun with zeros": Becomes("", "cannot be read: it is no complete safetensors file"),
    "empty": Becomes("", "cannot be read: it is no complete safetensors file"),
    "a folder": Becomes("", "cannot be read: it is a folder"),
    "no file at all": Becomes("", "cannot be read: it is no ordinary file"),
    "a link to itself elsewhere": Becomes("same"),
    "a link to nothing": Becomes("", "is missing: its link leads to a file that is not there"),
    "a link in a circle": Becomes("", "cannot be read: its link leads in a circle"),
}


class Moving:
    """A file that something happens to, and is put back afterwards.

    Args:
        path: in a folder of its own, which may be renamed.
        other: a file of the same size with other content.
        beside: an empty folder on the same disk that no list looks into.
    """

    def __init__(self, path: Path, other: Path, beside: Path) -> None:
        self.path, self._other, self._beside = path, other, beside
        self._kept, self._prepared = beside / "kept", beside / "prepared"
        self._elsewhere = path.with_name("elsewhere" + path.suffix)
        self._whole = Path(shutil.copyfile(path, beside / "whole"))
        self._overwritten = False

    def steps(self, event: str) -> list[Step]:
        """Make ready whatever the event needs; what is left are steps of one moment."""
        path, kept, prepared = str(self.path), str(self._kept), self._prepared
        if event in ("deleted", "moved"):
            return [("rename", path, kept if event == "deleted" else str(self._elsewhere))]
        if event == "its folder renamed":
            return [("rename", str(self.path.parent), f"{self.path.parent}_renamed")]
        if event == "back again":
            return [("rename", path, kept), ("rename", kept, path)]
        written = {
            "touched": lambda: self._whole.read_bytes(),
            "written over, of one size and time": lambda: self._other.read_bytes(),
            "half copied": lambda: self._whole.read_bytes()[: self.path.stat().st_size // 2],
            "begun with zeros": lambda: b"\0" * self.path.stat().st_size,
            "empty": lambda: b"",
        }
        if event in written:
            self._overwritten = True
            prepared.write_bytes(written[event]())
            return [("write", str(prepared), path)]
        if event == "another in its place":
            prepared.hardlink_to(self._other)
        elif event == "a folder":
            prepared.mkdir()
        elif event == "no file at all":
            os.mkfifo(prepared)
        else:
            leads = {"a link to itself elsewhere": self._kept, "a link to nothing": self._beside / "nothing"}
            prepared.symlink_to(leads.get(event, self.path))
        return [("rename", path, kept), ("rename", str(prepared), path)]

    @contextmanager
    def put_back(self) -> Iterator[Moving]:
        """Whatever happens inside, the file is there again afterwards, with its content and its time."""
        stat = self.path.stat()
        try:
            yield self
        finally:
            renamed = Path(f"{self.path.parent}_renamed")
            if renamed.exists():
                renamed.replace(self.path.parent)
            for place in (self._kept, self._elsewhere):
                if place.exists():
                    remove(self.path)
                    place.replace(self.path)
            if self._overwritten:
                shutil.copyfile(self._whole, self.path)
                self._overwritten = False
            remove(self._prepared)
            os.utime(self.path, ns=(stat.st_atime_ns, stat.st_mtime_ns))

    def happens(self, event: str) -> None:
        """Everything at once; the file's own time stays where an event says so."""
        stat = self.path.stat()
        for what, source, target in self.steps(event):
            if what == "rename":
                Path(source).replace(target)
            else:
                Path(target).write_bytes(Path(source).read_bytes())
        if event == "written over, of one size and time":
            assert self.path.stat().st_size == stat.st_size
            os.utime(self.path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def write_two(source: Path, same: Path, other: Path) -> None:
    """A model's file anew, and another model of the same layers, number types, size in bytes and time."""
    with safe_open(source, framework="pt") as opened:
        metadata = opened.metadata()
    tensors = load_file(source)
    save_file(tensors, same, metadata)
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and tensor.ndim > 1:
            tensors[name] = (tensor.float() * 0.9).to(tensor.dtype)
    save_file(tensors, other, metadata)
    of_same = same.stat()
    os.utime(other, ns=(of_same.st_atime_ns, of_same.st_mtime_ns))


def remove(path: Path) -> None:
    """Whatever is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
