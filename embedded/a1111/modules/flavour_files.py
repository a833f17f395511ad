"""What this host does with pictures' files beyond what both flavours do."""

from __future__ import annotations

from typing import Any

RENAMED_IS_TOLD = False
"""Whether `save_image` returns a name to which a number was added because the file was there; else the name wanted."""
GRID_MODE = "RGB"
"""What grids of pictures are made as."""


def own_pattern(p: Any) -> str | None:
    """A request's own pattern of file names; here the settings' is asked alone, which the request overrides there."""
    del p


def hide_infotext(params: Any) -> None:
    """The infotext is in the file's text fields alone."""
    del params


def hidden_infotext(image: Any) -> str | None:
    del image
