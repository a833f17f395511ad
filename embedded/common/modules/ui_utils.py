"""The tab PNG Info and the page's last line."""

from __future__ import annotations

from typing import Any

import gradio as gr

from modules import images, infotext_utils, launch_utils
from modules.ui_common import plaintext_to_html


def _read(image: Any) -> tuple[str, str]:
    if image is None:
        return "", ""
    geninfo, items = images.read_info_from_image(image)
    parts = {"parameters": geninfo or "Nothing found in the image.", **items}
    return geninfo or "", "".join(
        f"<div class='infotext'><b>{k}</b>{plaintext_to_html(str(v))}</div>" for k, v in parts.items()
    )


def create_pnginfo_interface() -> gr.Blocks:
    with gr.Blocks(analytics_enabled=False) as interface, gr.Row(equal_height=False):
        image = gr.Image(elem_id="pnginfo_image", label="Source", source="upload", interactive=True, type="pil")
        with gr.Column(variant="panel"):
            html = gr.HTML()
            text = gr.Textbox(visible=False, elem_id="pnginfo_generation_info")
            with gr.Row():
                buttons = infotext_utils.create_buttons(["txt2img", "img2img", "inpaint"])
        image.change(fn=_read, inputs=[image], outputs=[text, html])
        for tabname, button in buttons.items():
            binding = infotext_utils.ParamBinding(
                paste_button=button, tabname=tabname, source_text_component=text, source_image_component=image
            )
            infotext_utils.register_paste_params_button(binding)
    return interface


def footer() -> str:
    import torch

    return (
        f"<div class='versions'>embedded WebUI, speaking the interface of {launch_utils.git_tag()} \u2022 "
        f"gradio {gr.__version__} \u2022 torch {torch.__version__}</div>"
    )
