"""The host's list of checkpoints."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

from modules import sd_models

from extension_core.errors import DiversityError
from extension_core.weights.reader import Header, read_header


def titles() -> list[str]:
    """Checkpoints as the host lists them."""
    return list(sd_models.checkpoint_tiles())


def refresh() -> None:
    """Have the host look for new files."""
    sd_models.list_models()


def title_of(name: str) -> str:
    """The list's title for a name in an infotext, or the name itself if the host lists none such."""
    info = sd_models.get_closet_checkpoint_match(name)
    return info.title if info is not None else name


def find(name: str) -> Any:
    """The host's `CheckpointInfo` for a title, file name or hash.

    Raises:
        DiversityError: none was chosen, or the host lists none of that name.
    """
    if not name:
        raise DiversityError(
            "Diversity Distillation has no distilled model: distilled_model is empty; choose a checkpoint or untick it."
        )
    info = sd_models.get_closet_checkpoint_match(name)
    if info is not None:
        return info
    known = [candidate.name for candidate in sd_models.checkpoints_list.values()]
    nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
    hint = f"the nearest is '{nearest[0]}'" if nearest else "it lists none at all"
    raise DiversityError(
        f"The distilled model '{name}' is not among the host's checkpoints; {hint}; refresh the list or choose another."
    )


def header_metadata(path: Path) -> dict[str, str]:
    """Metadata of a file, {} if it has none."""
    header: Header = read_header(path)
    return dict(header.metadata)


def config_beside(path: Path) -> str | None:
    """Text of the yaml beside a checkpoint, where hosts look for its configuration."""
    config = path.with_suffix(".yaml")
    return config.read_text(encoding="utf-8") if config.is_file() else None
