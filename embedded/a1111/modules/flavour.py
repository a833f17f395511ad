"""Which host this flavour is like."""

from pathlib import Path
from typing import Any

NAME = "a1111"
VERSION = "v1.10.1"
"""The release whose extension interface this WebUI speaks."""
FOLDER = Path(__file__).resolve().parents[1]
GRADIO_EXTENSIONS = "gradio_extensons"
"""The module with the host's changes to gradio; each has a name of its own."""
GALLERY: dict[str, Any] = {}
"""What galleries are made with so that they show, and pass on, pictures."""
