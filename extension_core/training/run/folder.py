"""What a run leaves on disk: states to resume from, its losses, where it stands. Every file is whole or absent."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from extension_core.errors import DiversityError
from extension_core.training.whole_files import write_whole

_KEPT = 2
_PREFIX = "update-"


class RunFolder:
    """One run's folder.

    Args:
        rank: of this process; each keeps the states that wait in its own buffers.
    """

    def __init__(self, path: Path, rank: int = 0) -> None:
        self.path, self.rank = path, rank
        self.states = path / "states"

    def save_own(self, update: int, own: Mapping[str, Any]) -> None:
        """Keep what is this process's alone after so many updates."""
        path = self._state(update) / f"process-{self.rank}.pt"
        write_whole(path, lambda file: torch.save(dict(own), file))

    def save_shared(self, update: int, shared: Mapping[str, Any]) -> None:
        """Keep what every process has alike, once all have kept their own: with this file the state is whole."""
        path = self._state(update) / "shared.pt"
        write_whole(path, lambda file: torch.save({**shared, "update": update}, file))
        for old in self._saved()[:-_KEPT]:
            _remove(old)

    def _state(self, update: int) -> Path:
        return self.states / f"{_PREFIX}{update:07d}"

    def load(self) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """The newest state that is whole, shared and own, or none.

        Raises:
            DiversityError: it was saved by a run of fewer processes.
        """
        saved = self._saved()
        if not saved:
            return None
        own = saved[-1] / f"process-{self.rank}.pt"
        if not own.is_file():
            raise DiversityError(
                f"{saved[-1].name} was saved by {len(list(saved[-1].glob('process-*.pt')))} processes, and this is "
                f"process {self.rank + 1}; resume with as many as before."
            )
        return _read(saved[-1] / "shared.pt"), _read(own)

    def _saved(self) -> list[Path]:
        return sorted(folder for folder in self.states.glob(f"{_PREFIX}*") if (folder / "shared.pt").is_file())

    def log(self, update: int, losses: Mapping[str, float]) -> None:
        """Append the losses of an update."""
        with (self.path / "losses.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps({"update": update, **losses}) + "\n")

    def losses(self) -> list[dict[str, float]]:
        """Those of every update so far; a line that was cut off by a sudden end is none."""
        path = self.path / "losses.jsonl"
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        read = [_parsed(line) for line in lines]
        return [entry for entry in read if entry is not None]

    def forget_after(self, update: int) -> None:
        """Leave the losses of the first so many updates: those after the state that is resumed are made again."""
        kept = [entry for entry in self.losses() if entry["update"] < update]
        text = "".join(json.dumps(entry) + "\n" for entry in kept)
        write_whole(self.path / "losses.jsonl", lambda file: file.write(text.encode()))

    def tell(self, **status: object) -> None:
        """Where the run stands, for whoever watches it."""
        write_whole(self.path / "status.json", lambda file: file.write(json.dumps(status).encode()))

    def asked(self, wish: str) -> bool:
        """Whether somebody has put a file of this name ("pause", "stop") into the folder."""
        return (self.path / wish).exists()


def _parsed(line: str) -> dict[str, float] | None:
    try:
        return json.loads(line)
    except json.JSONDecodeError:
        return None


def _read(path: Path) -> dict[str, Any]:
    return torch.load(path, map_location="cpu", weights_only=True)


def _remove(folder: Path) -> None:
    """A state that is older than those kept; first what makes it whole."""
    for file in sorted(folder.iterdir(), key=lambda file: file.name != "shared.pt"):
        file.unlink()
    folder.rmdir()
