"""Whether folders have changed, asked often: of thousands of files none is asked, and nothing is missed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from extension_core.weights.folders import Folders

pytestmark = pytest.mark.once  # imports nothing whose version differs between the stacks


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Of long ago, so that a change is another time on every file system."""
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "old").write_bytes(b"1")
    for path in (tmp_path / "a" / "b", tmp_path / "a", tmp_path):
        os.utime(path, (1, 1))
    return tmp_path


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "new").touch(),
        lambda folder: (folder / "a" / "b" / "new").touch(),
        lambda folder: (folder / "a" / "new").mkdir(),
        lambda folder: (folder / "a" / "old").rename(folder / "a" / "renamed"),
        lambda folder: (folder / "a" / "old").unlink(),
        lambda folder: (folder / "a").rename(folder / "c"),
    ],
)
def test_each_change_is_told_once(folder: Path, change: Callable[[Path], object]) -> None:
    folders = Folders()
    assert folders.have_changed([folder])
    assert not folders.have_changed([folder])
    change(folder)
    assert folders.have_changed([folder])
    assert not folders.have_changed([folder])


def test_what_a_file_holds_is_no_change(folder: Path) -> None:
    folders = Folders()
    folders.have_changed([folder])
    (folder / "a" / "old").write_bytes(b"2")
    assert not folders.have_changed([folder])


def test_other_folders_and_folders_that_are_missing(folder: Path) -> None:
    folders = Folders()
    missing = folder / "a" / "not yet"
    assert folders.have_changed([missing])
    assert not folders.have_changed([missing])
    assert folders.have_changed([missing, folder])
    missing.mkdir()
    assert folders.have_changed([missing, folder])


def test_a_link_that_leads_back_ends(folder: Path) -> None:
    (folder / "a" / "b" / "back").symlink_to(folder, target_is_directory=True)
    folders = Folders()
    assert folders.have_changed([folder])
    assert not folders.have_changed([folder])
