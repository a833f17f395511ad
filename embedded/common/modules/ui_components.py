"""Components with the arguments of gradio's own, by which gradio 4 tells what to send to the page."""

from __future__ import annotations

import functools
import itertools
from typing import Any

import gradio as gr


class ToolButton(gr.Button):
    """A button of one symbol."""

    @functools.wraps(gr.Button.__init__)
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "elem_classes": ["tool", *kwargs.get("elem_classes", ())]})

    def get_block_name(self) -> str:
        return "button"


class FormRow(gr.Row):
    """A row whose components stand close together."""

    def get_expected_parent(self) -> Any:
        return gr.components.Form

    def get_block_name(self) -> str:
        return "row"


class InputAccordion(gr.Checkbox):
    """A hidden checkbox "<elem_id>-checkbox" with an accordion; what gradio 4 makes for updates is a checkbox."""

    _numbers = itertools.count()
    _BOX = "-checkbox"

    @functools.wraps(gr.Checkbox.__init__)
    def __init__(self, value: Any = None, **kwargs: Any) -> None:
        own_id = kwargs.pop("elem_id", None) or f"input-accordion-{next(self._numbers)}"
        if own_id.endswith(self._BOX):
            super().__init__(value=value, elem_id=own_id, **kwargs)
            return
        super().__init__(value=value, **{**kwargs, "elem_id": own_id + self._BOX, "visible": False})
        self.change(fn=None, _js=f"checked => tickAccordion('{own_id}', checked)", inputs=[self], outputs=[])
        look = {"label": "Accordion", **kwargs, "elem_id": own_id, "elem_classes": ["input-accordion"]}
        self.accordion = gr.Accordion(open=bool(value), **look)

    def extra(self) -> Any:
        """A column inside the accordion's header."""
        return gr.Column(elem_id=f"{self.accordion.elem_id}-extra", elem_classes="input-accordion-extra", min_width=0)

    def __enter__(self) -> InputAccordion:
        self.accordion.__enter__()
        return self

    def __exit__(self, *fault: Any) -> None:
        self.accordion.__exit__(*fault)

    def get_block_name(self) -> str:
        return "checkbox"
