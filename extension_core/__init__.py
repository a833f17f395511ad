"""Diversity Distillation: the base model runs the first step, a distilled model the rest."""

from pathlib import Path

__version__ = "0.1.0"


def _files() -> dict[Path, int]:
    """The package's files, each with the time of its last change."""
    return {file: file.stat().st_mtime_ns for file in Path(__file__).parent.rglob("*.py")}


_imported = _files()


def is_current() -> bool:
    """Whether the files are those that were there when the package was imported: not so after an update."""
    return _files() == _imported
