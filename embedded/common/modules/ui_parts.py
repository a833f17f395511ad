"""Parts that the two generation tabs share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr

from modules import progress
from modules.infotext_utils import ParamBinding, PasteField, register_paste_params_button
from modules.ui_components import FormRow, ToolButton

switch_values_symbol = "\u21c5"


def slider(label: str, elem_id: str, low: float, high: float, step: float, value: float) -> Any:
    return gr.Slider(minimum=low, maximum=high, step=step, label=label, value=value, elem_id=elem_id)


class Dimensions:
    """Size of the picture, and how many of them."""

    def __init__(self, tab: str) -> None:
        with FormRow(elem_id=f"{tab}_dimensions"):
            with gr.Column(elem_id=f"{tab}_column_size", scale=4):
                self.width = slider("Width", f"{tab}_width", 64, 2048, 8, 128)
                self.height = slider("Height", f"{tab}_height", 64, 2048, 8, 128)
            with gr.Column(elem_id=f"{tab}_dimensions_row", scale=1, elem_classes="dimensions-tools"):
                switch = ToolButton(
                    switch_values_symbol, elem_id=f"{tab}_res_switch_btn", tooltip="Switch width/height"
                )
            with gr.Column(elem_id=f"{tab}_column_batch"):
                self.batch_count = slider("Batch count", f"{tab}_batch_count", 1, 100, 1, 1)
                self.batch_size = slider("Batch size", f"{tab}_batch_size", 1, 8, 1, 1)
        sides = [self.width, self.height]
        switch.click(fn=lambda w, h: (h, w), inputs=sides, outputs=sides, show_progress=False)

    @property
    def paste_fields(self) -> list[PasteField]:
        return [
            PasteField(self.width, "Size-1", api="width"),
            PasteField(self.height, "Size-2", api="height"),
            PasteField(self.batch_size, "Batch size", api="batch_size"),
        ]


def override_settings(tab: str) -> Any:
    with FormRow(elem_id=f"{tab}_override_settings_row"):
        return gr.Dropdown(
            label="Override settings",
            value=None,
            visible=False,
            elem_id=f"{tab}_override_settings",
            multiselect=True,
            choices=[],
        )


def connect_generate(toprow: Any, run: Callable[..., Any], js: str, inputs: list[Any], outputs: list[Any]) -> None:
    """Generate, and Ctrl+Enter in the prompts. The JavaScript puts a task id in the first input's place and asks for
    its progress.
    """
    for trigger in (toprow.submit.click, toprow.prompt.submit, toprow.negative_prompt.submit):
        trigger(fn=run, _js=js, inputs=inputs, outputs=outputs, show_progress=False)


def connect_restore(toprow: Any, js: str, id_task: Any, outputs: list[Any]) -> None:
    """For a page that was reloaded while it generated: waits for the end and shows the result. The JavaScript gives the
    task's id.
    """
    toprow.restore_progress_button.click(
        fn=progress.restore_progress, _js=js, inputs=[id_task], outputs=outputs, show_progress=False
    )


def connect_paste_button(toprow: Any, tab: str, overrides: Any) -> None:
    binding = ParamBinding(
        paste_button=toprow.paste,
        tabname=tab,
        source_text_component=toprow.prompt,
        source_image_component=None,
        override_settings_component=overrides,
    )
    register_paste_params_button(binding)
