"""The picture that a mask is painted on."""

from __future__ import annotations

from typing import Any

import gradio as gr
from PIL import Image


def create(label: str, elem_id: str) -> Any:
    brush = gr.Brush(colors=["#ffffff"], color_mode="fixed")
    return gr.ImageEditor(label=label, elem_id=elem_id, show_label=False, type="pil", brush=brush, height=400)


def split(value: dict[str, Any]) -> tuple[Any, Any]:
    """(picture, mask): what is painted on layers above the picture."""
    picture = value["background"]
    mask = Image.new("L", picture.size)
    for layer in value["layers"]:
        mask.paste(255, mask=layer.convert("RGBA").getchannel("A"))
    return picture, mask.convert("RGB")
