"""Prompts, styles, and the buttons Generate, Interrupt and Skip."""

from __future__ import annotations

from typing import Any

import gradio as gr

from modules import shared
from modules.ui_common import create_refresh_button, paste_symbol
from modules.ui_components import ToolButton


def interrupt_function() -> None:
    """The first click lets the picture being made finish, where more than one is asked for and the settings say so."""
    state = shared.state
    if not state.stopping_generation and state.job_count > 1 and shared.opts.interrupt_after_current:
        state.stop_generating()
        gr.Info("Generation will stop after finishing this image, click again to stop immediately.")
    else:
        state.interrupt()


class Toprow:
    def __init__(self, is_img2img: bool) -> None:
        self.id_part = "img2img" if is_img2img else "txt2img"
        with gr.Row(elem_id=f"{self.id_part}_toprow"):
            with gr.Column(elem_id=f"{self.id_part}_prompt_container", scale=6):
                self.prompt = self._prompt("Prompt", "prompt", "Prompt\n(Press Ctrl+Enter to generate)")
                self.negative_prompt = self._prompt("Negative prompt", "neg_prompt", "Negative prompt")
            with gr.Column(scale=1, elem_id=f"{self.id_part}_actions_column", min_width=200):
                self._buttons()
                self._tools()

    def _prompt(self, label: str, name: str, placeholder: str) -> Any:
        return gr.Textbox(
            label=label,
            elem_id=f"{self.id_part}_{name}",
            show_label=False,
            lines=3,
            placeholder=placeholder,
            elem_classes=["prompt"],
        )

    def _buttons(self) -> None:
        ids = self.id_part
        with gr.Row(elem_id=f"{ids}_generate_box", elem_classes="generate-box"):
            self.interrupt = gr.Button("Interrupt", elem_id=f"{ids}_interrupt", elem_classes="generate-box-interrupt")
            self.interrupting = gr.Button(
                "Interrupting...", elem_id=f"{ids}_interrupting", elem_classes="generate-box-interrupting"
            )
            self.skip = gr.Button("Skip", elem_id=f"{ids}_skip", elem_classes="generate-box-skip")
            self.submit = gr.Button("Generate", elem_id=f"{ids}_generate", variant="primary")
        self.skip.click(fn=lambda: shared.state.skip(), inputs=[], outputs=[], queue=False)
        placeholder = f'() => {{ showSubmitInterruptingPlaceholder("{ids}"); }}'
        self.interrupt.click(fn=interrupt_function, _js=placeholder, inputs=[], outputs=[], queue=False)
        self.interrupting.click(fn=interrupt_function, inputs=[], outputs=[], queue=False)

    def _tools(self) -> None:
        with gr.Row(elem_id=f"{self.id_part}_tools"):
            self.paste = ToolButton(
                paste_symbol, elem_id="paste", tooltip="Read generation parameters from prompt or last generation"
            )
            self.clear_prompt_button = ToolButton(
                "\U0001f5d1\ufe0f", elem_id=f"{self.id_part}_clear_prompt", tooltip="Clear prompt"
            )
            self.restore_progress_button = ToolButton(
                "\U0001f300",
                elem_id=f"{self.id_part}_restore_progress",
                visible=False,
                tooltip="Show the last generation of this browser again",
            )
        with gr.Row(elem_id=f"{self.id_part}_styles_row"):
            self.styles = gr.Dropdown(
                label="Styles",
                show_label=False,
                elem_id=f"{self.id_part}_styles",
                choices=list(shared.prompt_styles.styles),
                value=[],
                multiselect=True,
                tooltip="Styles",
            )
            create_refresh_button(
                self.styles,
                shared.prompt_styles.reload,
                lambda: {"choices": list(shared.prompt_styles.styles)},
                f"refresh_{self.id_part}_styles",
            )
        self.clear_prompt_button.click(
            fn=lambda: ("", ""), inputs=[], outputs=[self.prompt, self.negative_prompt], show_progress=False
        )
