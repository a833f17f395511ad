"""Which host this flavour is like, and in which small things it differs from the other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

NAME = "forge"
VERSION = "f2.0.1v1.10.1"
"""The release whose extension interface this WebUI speaks (dfdcbab6)."""
FOLDER = Path(__file__).resolve().parents[1]
GALLERY: dict[str, Any] = {"interactive": False, "type": "pil"}
"""What galleries are made with so that they show, and pass on, pictures."""
RENAMED_IS_TOLD = True
"""Whether `save_image` returns a name to which a number was added because the file was there; else the name wanted."""
GRID_MODE = "RGBA"
"""What grids of pictures are made as."""
SETTINGS: dict[str, Any] = {
    "forge_preset": "sd",
    "forge_unet_storage_dtype": "Automatic",
    "forge_additional_modules": [],
}
"""Settings and defaults beyond those of both flavours."""
