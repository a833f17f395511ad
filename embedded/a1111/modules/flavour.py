"""Which host this flavour is like, and in which small things it differs from the other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

NAME = "a1111"
VERSION = "v1.10.1"
"""The release whose extension interface this WebUI speaks."""
FOLDER = Path(__file__).resolve().parents[1]
GALLERY: dict[str, Any] = {}
"""What galleries are made with so that they show, and pass on, pictures."""
RENAMED_IS_TOLD = False
"""Whether `save_image` returns a name to which a number was added because the file was there; else the name wanted."""
GRID_MODE = "RGB"
"""What grids of pictures are made as."""
SETTINGS: dict[str, Any] = {}
"""Settings and defaults beyond those of both flavours."""
