"""The whole page: what is above the tabs, the tabs, and a last line that says which WebUI this is."""

from __future__ import annotations

from typing import Any

import gradio as gr
import torch

from modules import (
    flavour,
    flavour_page,
    images,
    infotext_utils,
    model_handling,
    sd_models,
    shared,
    ui_gradio_extensions,
)
from modules.shared import opts
from modules.ui_common import create_refresh_button, plaintext_to_html
from modules.ui_tabs import Img2Img, Txt2Img


def create_ui() -> gr.Blocks:
    """Builds everything afresh; each script's `ui` is called once a tab."""
    infotext_utils.reset()
    ui_gradio_extensions.reload_javascript()
    tabs = {"txt2img": Txt2Img("txt2img").build(), "img2img": Img2Img("img2img").build(), "PNG Info": _png_info()}
    with gr.Blocks(theme=shared.gradio_theme, analytics_enabled=False, title="Stable Diffusion (embedded)") as demo:
        with gr.Row(elem_id="quicksettings"):
            flavour_page.top_of_page()
        infotext_utils.connect_buttons()
        with gr.Tabs(elem_id="tabs"):
            for label, block in tabs.items():
                name = label.lower().replace(" ", "")
                with gr.TabItem(label, id=name, elem_id=f"tab_{name}"):
                    block.render()
            with gr.TabItem("Settings", id="settings", elem_id="tab_settings"):
                restart = gr.Button("Reload UI", elem_id="settings_restart_gradio")
                restart.click(fn=lambda: shared.state.command("restart"), _js="reloadWhenBack", inputs=[], outputs=[])
        versions = f"{flavour.VERSION} \u2022 gradio {gr.__version__} \u2022 torch {torch.__version__}"
        gr.HTML(f"<div>embedded WebUI, speaking the interface of {versions}</div>", elem_id="footer")
    return demo


def checkpoint_list(elem_id: str) -> None:
    """The list of checkpoints above the tabs; a choice is loaded at once."""

    def choices() -> dict[str, Any]:
        return {"choices": sd_models.checkpoint_tiles()}

    def choose(value: str) -> tuple[Any, str]:
        model_handling.change_setting("sd_model_checkpoint", value)
        opts.save(shared.config_filename)
        return gr.update(value=opts.sd_model_checkpoint), opts.dumpjson()

    given = {"label": "Stable Diffusion checkpoint", "value": lambda: opts.sd_model_checkpoint, **choices()}
    listed = gr.Dropdown(elem_id=elem_id, **given)
    create_refresh_button(listed, sd_models.list_models, choices, f"refresh_{elem_id}")
    listed.change(fn=choose, inputs=[listed], outputs=[listed, settings_box()])


def settings_box() -> gr.Textbox:
    """Holds all settings, and is written to once one was stored."""
    return gr.Textbox(value=lambda: opts.dumpjson(), visible=False, elem_id="settings_json")


def _png_info() -> gr.Blocks:
    """A picture's texts, and buttons that send them and the picture to a tab."""
    with gr.Blocks(analytics_enabled=False) as block, gr.Row(equal_height=False):
        picture = gr.Image(label="Source", source="upload", type="pil", interactive=True, elem_id="pnginfo_image")
        with gr.Column():
            shown = gr.HTML()
            text = gr.Textbox(visible=False, elem_id="pnginfo_generation_info")
            with gr.Row():
                for target in ("txt2img", "img2img", "inpaint"):
                    button = gr.Button(f"Send to {target}", elem_id=f"{target}_tab")
                    infotext_utils.sends(button, target, text, picture)
        picture.change(fn=_texts_of, inputs=[picture], outputs=[text, shown])
    return block


def _texts_of(picture: Any) -> tuple[str, str]:
    if picture is None:
        return "", ""
    infotext, _ = images.read_info_from_image(picture)
    return infotext or "", plaintext_to_html(infotext or "This picture holds no infotext.")
