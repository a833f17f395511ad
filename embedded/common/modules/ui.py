"""The whole page."""

from __future__ import annotations

import os
from typing import Any

import gradio as gr

from modules import infotext_utils, script_callbacks, shared, ui_img2img, ui_loadsave, ui_txt2img, ui_utils
from modules.shared import opts
from modules.ui_common import (
    create_refresh_button,
    paste_symbol,
    plaintext_to_html,
    random_symbol,
    refresh_symbol,
    reuse_symbol,
)
from modules.ui_gradio_extensions import reload_javascript
from modules.ui_settings import UiSettings

txt2img_paste_fields: Any = []
img2img_paste_fields: Any = []


def create_override_settings_dropdown(tabname: str, row: Any) -> Any:
    from modules import ui_parts

    del row
    return ui_parts.override_settings(tabname)


def create_ui() -> gr.Blocks:
    """Builds everything afresh; each script's `ui` is called once a tab."""
    global txt2img_paste_fields, img2img_paste_fields
    reload_javascript()
    infotext_utils.reset()
    settings = UiSettings()
    settings.register_settings()
    txt2img_interface = ui_txt2img.create_interface()
    txt2img_paste_fields = infotext_utils.paste_fields["txt2img"]["fields"]
    img2img_interface = ui_img2img.create_interface()
    img2img_paste_fields = infotext_utils.paste_fields["img2img"]["fields"]
    interfaces: list[tuple[Any, str, str]] = [
        (txt2img_interface, "txt2img", "txt2img"),
        (img2img_interface, "img2img", "img2img"),
        (ui_utils.create_pnginfo_interface(), "PNG Info", "pnginfo"),
    ]
    interfaces += script_callbacks.ui_tabs_callback()
    loadsave = ui_loadsave.UiLoadsave(shared.cmd_opts.ui_config_file)
    from_file = dict(loadsave.ui_settings)
    settings.create_ui(loadsave)
    interfaces.append((settings.interface, "Settings", "settings"))
    shared.tab_names = [label for _, label, _ in interfaces]
    with gr.Blocks(theme=shared.gradio_theme, analytics_enabled=False, title="Stable Diffusion (embedded)") as demo:
        settings.add_quicksettings()
        infotext_utils.connect_paste_params_buttons()
        with gr.Tabs(elem_id="tabs") as tabs:
            for interface, label, ifid in interfaces:
                if label not in opts.hidden_tabs:
                    with gr.TabItem(label, id=ifid, elem_id=f"tab_{ifid}"):
                        interface.render()
                    if ifid not in ("extensions", "settings"):
                        loadsave.add_block(interface, ifid)
            loadsave.add_component(f"webui/Tabs@{tabs.elem_id}", tabs)
            loadsave.setup_ui()
        gr.HTML(ui_utils.footer(), elem_id="footer")
        settings.add_functionality(demo)
    if from_file != loadsave.ui_settings:
        loadsave.dump_defaults()
    demo.ui_loadsave = loadsave  # type: ignore[attr-defined]
    return demo


def setup_ui_api(app: Any) -> None:
    def quicksettings_hint() -> list[dict[str, Any]]:
        return [{"name": k, "label": v.label} for k, v in opts.data_labels.items()]

    app.add_api_route("/internal/quicksettings-hint", quicksettings_hint, methods=["GET"])

    def ping() -> dict[str, Any]:
        return {}

    app.add_api_route("/internal/ping", ping, methods=["GET"])


__all__ = [
    "create_refresh_button",
    "create_ui",
    "os",
    "paste_symbol",
    "plaintext_to_html",
    "random_symbol",
    "refresh_symbol",
    "reuse_symbol",
    "setup_ui_api",
]
