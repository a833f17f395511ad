"""Pictures of the gallery keep their infotext: gradio is made to serve the saved file, or a PNG written with its text
fields.
"""

from __future__ import annotations

import os
import tempfile
from typing import Any

from modules import images, shared


def _register(filename: str) -> None:
    demo: Any = shared.demo
    if demo is not None and getattr(demo, "temp_file_sets", None):
        demo.temp_file_sets[0] = demo.temp_file_sets[0] | {os.path.abspath(filename)}


def save_pil_to_file(pil_image: Any, cache_dir: Any = None, format: str = "png") -> str:
    del format
    saved = getattr(pil_image, "already_saved_as", None)
    if saved and os.path.isfile(saved):
        _register(saved)
        with_time = f"{saved}?{os.path.getmtime(saved)}"
        _register(with_time)
        return with_time
    return write_png(pil_image, cache_dir)


def write_png(pil_image: Any, cache_dir: Any) -> str:
    """A temporary file with the picture's text fields."""
    folder = shared.opts.temp_dir or cache_dir
    os.makedirs(folder, exist_ok=True)
    with tempfile.NamedTemporaryFile(delete=False, suffix=".png", dir=folder) as file:
        file.write(images.to_bytes(pil_image))
        return file.name
