"""What this host's page has otherwise than the other's."""

from __future__ import annotations

from typing import Any

import gradio as gr


def hires_components() -> list[tuple[str, Any, Any]]:
    """(field of the request, component, what a paste reads its value by) beyond those of both."""
    return []


def top_of_page() -> None:
    """Builds what is above the tabs."""
    from modules import ui

    ui.checkpoint_list("setting_sd_model_checkpoint")


def canvas(label: str, elem_id: str) -> Any:
    """The picture that a mask is painted on."""
    look: dict[str, Any] = {"source": "upload", "tool": "sketch", "type": "pil", "image_mode": "RGBA", "height": 400}
    return gr.Image(label=label, elem_id=elem_id, show_label=False, interactive=True, **look)


def picture_and_mask(value: Any) -> tuple[Any, Any]:
    return (value["image"], value["mask"].convert("L")) if value else (None, None)
