"""The picture that a mask is painted on."""

from __future__ import annotations

from typing import Any

import gradio as gr


def create(label: str, elem_id: str) -> Any:
    options: dict[str, Any] = {"source": "upload", "tool": "sketch", "type": "pil", "image_mode": "RGBA"}
    return gr.Image(label=label, elem_id=elem_id, show_label=False, interactive=True, height=400, **options)


def split(value: dict[str, Any]) -> tuple[Any, Any]:
    """(picture, mask)."""
    return value["image"], value["mask"]
