"""Pieces of the page that its tabs and scripts use."""

from __future__ import annotations

import html
from typing import Any

import gradio as gr

from modules import flavour
from modules.ui_components import ToolButton

random_symbol, reuse_symbol, refresh_symbol = "\U0001f3b2\ufe0f", "\u267b\ufe0f", "\U0001f504"


def plaintext_to_html(text: str, classname: str = "plain") -> str:
    return f"<p class='{classname}'>" + "<br>\n".join(html.escape(text).split("\n")) + "</p>"


def create_refresh_button(refresh_component, refresh_method, refreshed_args, elem_id) -> ToolButton:
    """A button that calls `refresh_method` and then gives the component, or each of several, these arguments anew."""
    shown = refresh_component if isinstance(refresh_component, list) else [refresh_component]

    def refresh() -> Any:
        refresh_method()
        given = refreshed_args if isinstance(refreshed_args, dict) else refreshed_args()
        for component in shown:
            vars(component).update(given)
        updates = tuple(gr.update(**given) for _ in shown)
        return updates[0] if len(updates) == 1 else updates

    button = ToolButton(value=refresh_symbol, elem_id=elem_id, tooltip="Look for new ones")
    button.click(fn=refresh, inputs=[], outputs=shown)
    return button


class OutputPanel:
    """Gallery, buttons that send its picture on, and below the infotext and what went wrong."""

    def __init__(self, tab: str) -> None:
        with gr.Column(elem_id=f"{tab}_results"):
            with gr.Group(elem_id=f"{tab}_gallery_container"):
                look = {"columns": 4, "preview": True, "height": 600, "object_fit": "contain", **flavour.GALLERY}
                self.gallery = gr.Gallery(label="Output", show_label=False, elem_id=f"{tab}_gallery", **look)
            with gr.Row(elem_id=f"image_buttons_{tab}"):
                self.to_img2img = ToolButton("\U0001f5bc\ufe0f", elem_id=f"{tab}_send_to_img2img", tooltip="To img2img")
                self.to_inpaint = ToolButton("\U0001f3a8\ufe0f", elem_id=f"{tab}_send_to_inpaint", tooltip="To Inpaint")
            self.infotext = gr.HTML(elem_id=f"html_info_{tab}", elem_classes="infotext")
            self.html_log = gr.HTML(elem_id=f"html_log_{tab}", elem_classes="html-log")
            self.generation_info = gr.Textbox(visible=False, elem_id=f"generation_info_{tab}")
        self.outputs = [self.gallery, self.generation_info, self.infotext, self.html_log]
