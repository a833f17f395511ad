"""What this host does with pictures' files beyond what both flavours do."""

from __future__ import annotations

from typing import Any

from modules import shared, stealth_infotext

RENAMED_IS_TOLD = True
"""Whether `save_image` returns a name to which a number was added because the file was there; else the name wanted."""
GRID_MODE = "RGBA"
"""What grids of pictures are made as."""


def own_pattern(p: Any) -> str | None:
    """A request's own pattern of file names, looked up apart from the settings."""
    return p.override_settings.get("samples_filename_pattern") if hasattr(p, "override_settings") else None


def hide_infotext(params: Any) -> None:
    if shared.opts.enable_pnginfo:
        stealth_infotext.add_stealth_pnginfo(params)


def hidden_infotext(image: Any) -> str | None:
    return stealth_infotext.read_info_from_image_stealth(image)
