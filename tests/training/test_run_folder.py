"""What a run leaves on disk, whatever happens while it writes."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from extension_core.errors import DiversityError
from extension_core.training.run.folder import RunFolder
from extension_core.training.whole_files import write_whole


def save(folder: RunFolder, update: int) -> None:
    folder.save_own(update, {"states": torch.arange(update)})
    folder.save_shared(update, {"weights": torch.full((3,), update)})


def test_the_newest_whole_state_is_loaded_and_two_are_kept(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    assert folder.load() is None
    for update in (5, 10, 15):
        save(folder, update)
    shared, own = folder.load() or ({}, {})
    assert (shared["update"], shared["weights"].tolist(), len(own["states"])) == (15, [15, 15, 15], 15)
    assert sorted(path.name for path in folder.states.iterdir()) == ["update-0000010", "update-0000015"]


@pytest.mark.parametrize("fails_at", ["process-0.pt", "shared.pt"])
def test_a_full_disk_leaves_the_state_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails_at: str) -> None:
    folder = RunFolder(tmp_path)
    save(folder, 5)
    write = os.fsync
    names: list[str] = []

    def full(handle: int) -> None:
        names.append(Path(f"/proc/self/fd/{handle}").readlink().name)
        if fails_at in names[-1]:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(handle)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(
        DiversityError, match=rf"{fails_at} cannot be written \(No space left on device\); what was saved"
    ):
        save(folder, 10)
    monkeypatch.undo()
    shared, _ = folder.load() or ({}, {})
    assert shared["update"] == 5
    assert not list(tmp_path.rglob(".*"))


def test_what_a_killed_process_left_half_written_is_not_loaded(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    save(folder, 5)
    half = folder.states / "update-0000010"
    half.mkdir()
    (half / "process-0.pt").write_bytes(b"PK half of it")
    assert (folder.load() or ({}, {}))[0]["update"] == 5
    save(folder, 10)
    assert (folder.load() or ({}, {}))[0]["update"] == 10


def test_every_process_has_its_own_states(tmp_path: Path) -> None:
    for rank in (1, 0):
        RunFolder(tmp_path, rank).save_own(3, {"states": torch.tensor([rank])})
    assert RunFolder(tmp_path, 0).load() is None, "nothing is whole yet"
    RunFolder(tmp_path, 0).save_shared(3, {})
    assert [(RunFolder(tmp_path, rank).load() or ({}, {}))[1]["states"].item() for rank in (0, 1)] == [0, 1]
    with pytest.raises(DiversityError, match="was saved by 2 processes, and this is process 3; resume with as many"):
        RunFolder(tmp_path, 2).load()


def test_losses_after_the_state_that_is_resumed_are_forgotten(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    for update in range(6):
        folder.log(update, {"student": update / 3})
    with (tmp_path / "losses.jsonl").open("a") as file:
        file.write('{"update": 6, "stu')  # killed while writing
    assert [entry["update"] for entry in folder.losses()] == [0, 1, 2, 3, 4, 5]
    folder.forget_after(4)
    folder.log(4, {"student": 9.0})
    assert [(entry["update"], entry["student"]) for entry in folder.losses()][3:] == [(3, 1.0), (4, 9.0)]


def test_a_file_is_whole_or_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file"
    write_whole(path, lambda file: file.write(b"first"))

    def interrupted(file: Any) -> None:
        file.write(b"sec")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_whole(path, interrupted)
    assert path.read_bytes() == b"first"
    (tmp_path / "users_own").touch()
    assert path.stat().st_mode == (tmp_path / "users_own").stat().st_mode
    assert [entry.name for entry in path.parent.iterdir()] == ["file"]
