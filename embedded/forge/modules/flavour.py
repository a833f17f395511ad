"""Which host this flavour is like."""

from pathlib import Path
from typing import Any

NAME = "forge"
VERSION = "f2.0.1v1.10.1"
"""The release whose extension interface this WebUI speaks (dfdcbab6)."""
FOLDER = Path(__file__).resolve().parents[1]
GRADIO_EXTENSIONS = "gradio_extensions"
"""The module with the host's changes to gradio; each has a name of its own."""
GALLERY: dict[str, Any] = {"interactive": False, "type": "pil"}
"""What galleries are made with so that they show, and pass on, pictures."""
