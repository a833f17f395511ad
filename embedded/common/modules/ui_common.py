"""Pieces that several parts of the page use."""

from __future__ import annotations

import html
import json
from collections.abc import Callable
from typing import Any

import gradio as gr

from modules import flavour, infotext_utils, scripts
from modules.ui_components import ToolButton

random_symbol = "\U0001f3b2\ufe0f"
reuse_symbol = "\u267b\ufe0f"
paste_symbol = "\u2199\ufe0f"
refresh_symbol = "\U0001f504"
_SENT_TO = {"img2img": "\U0001f5bc\ufe0f", "inpaint": "\U0001f3a8\ufe0f"}


def plaintext_to_html(text: str, classname: str | None = None) -> str:
    content = "<br>\n".join(html.escape(x) for x in text.split("\n"))
    return f"<p class='{classname}'>{content}</p>" if classname else f"<p>{content}</p>"


def create_refresh_button(
    refresh_component: Any,
    refresh_method: Callable[[], Any],
    refreshed_args: Callable[[], dict[str, Any]] | dict[str, Any],
    elem_id: str,
) -> ToolButton:
    """A button that calls `refresh_method` and then sets the attributes `refreshed_args` of the component or
    components.
    """
    components = refresh_component if isinstance(refresh_component, list) else [refresh_component]
    label = next((x.label for x in components if getattr(x, "label", None)), None)

    def refresh() -> Any:
        refresh_method()
        args = refreshed_args() if callable(refreshed_args) else refreshed_args
        for k, v in args.items():
            for component in components:
                setattr(component, k, v)
        updates = [gr.update(**args) for _ in components]
        return updates if len(components) > 1 else updates[0]

    button = ToolButton(value=refresh_symbol, elem_id=elem_id, tooltip=f"{label}: refresh" if label else "Refresh")
    button.click(fn=refresh, inputs=[], outputs=components)
    return button


def setup_dialog(button_show: Any, dialog: Any, *, button_close: Any = None) -> None:
    button_show.click(fn=lambda: gr.update(visible=True), inputs=[], outputs=[dialog])
    if button_close is not None:
        button_close.click(fn=lambda: gr.update(visible=False), inputs=[], outputs=[dialog])


class OutputPanel:
    """Gallery, and below it infotext and log; errors appear in the log as `<div class='error'>`."""

    def __init__(self, tabname: str) -> None:
        with gr.Column(elem_id=f"{tabname}_results"):
            with (
                gr.Column(variant="panel", elem_id=f"{tabname}_results_panel"),
                gr.Group(elem_id=f"{tabname}_gallery_container"),
            ):
                self.gallery = gr.Gallery(
                    label="Output",
                    show_label=False,
                    elem_id=f"{tabname}_gallery",
                    columns=4,
                    preview=True,
                    height=600,
                    object_fit="contain",
                    **flavour.GALLERY,
                )
            with gr.Row(elem_id=f"image_buttons_{tabname}", elem_classes="image-buttons"):
                buttons = {target: self._send_button(tabname, target) for target in _SENT_TO}
            with gr.Group():
                self.infotext = gr.HTML(elem_id=f"html_info_{tabname}", elem_classes="infotext")
                self.html_log = gr.HTML(elem_id=f"html_log_{tabname}", elem_classes="html-log")
                self.generation_info = gr.Textbox(visible=False, elem_id=f"generation_info_{tabname}")
        self.outputs = [self.gallery, self.generation_info, self.infotext, self.html_log]
        update = gr.Button(visible=False, elem_id=f"{tabname}_generation_info_button")
        update.click(
            fn=_select_infotext,
            _js="(x, y, z) => [x, y, selected_gallery_index()]",
            inputs=[self.generation_info, self.infotext, self.infotext],
            outputs=[self.infotext, self.infotext],
            show_progress=False,
        )
        for target, button in buttons.items():
            self._connect_sending(tabname, target, button)

    def _send_button(self, tabname: str, target: str) -> ToolButton:
        picture = _SENT_TO[target]
        tooltip = f"Send picture and settings to {target}"
        return ToolButton(picture, elem_id=f"{tabname}_send_to_{target}", tooltip=tooltip)

    def _connect_sending(self, tabname: str, target: str, button: ToolButton) -> None:
        """The picture goes from both tabs, settings from txt2img alone."""
        runner = scripts.scripts_txt2img if tabname == "txt2img" else scripts.scripts_img2img
        binding = infotext_utils.ParamBinding(
            paste_button=button,
            tabname=target,
            source_image_component=self.gallery,
            source_tabname="txt2img" if tabname == "txt2img" else None,
            paste_field_names=runner.paste_field_names,
        )
        infotext_utils.register_paste_params_button(binding)


def _select_infotext(generation_info: str, html_info: str, img_index: Any) -> tuple[Any, Any]:
    try:
        texts = json.loads(generation_info)["infotexts"]
        return plaintext_to_html(texts[int(img_index)]), gr.update()
    except (ValueError, KeyError, IndexError, TypeError):
        return html_info, gr.update()


def create_output_panel(tabname: str, outdir: str, toprow: Any = None) -> OutputPanel:
    del outdir, toprow
    return OutputPanel(tabname)
