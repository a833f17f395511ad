"""The accordion that is a checkbox."""

from __future__ import annotations

from types import TracebackType
from typing import Any

import gradio as gr


class InputAccordion(gr.Checkbox):
    """An accordion whose state is a value: True where it is open. It is a hidden checkbox "<elem_id>-checkbox" and an
    accordion "<elem_id>" which the page's JavaScript keeps alike; as an argument of a script it is the checkbox's
    value.
    """

    global_index = 0

    def __init__(self, value: bool, **kwargs: Any) -> None:
        self.accordion_id = kwargs.get("elem_id")
        if self.accordion_id is None:
            self.accordion_id = f"input-accordion-{InputAccordion.global_index}"
            InputAccordion.global_index += 1
        super().__init__(value, **{**kwargs, "elem_id": f"{self.accordion_id}-checkbox", "visible": False})
        follow = f'function(checked){{ inputAccordionChecked("{self.accordion_id}", checked); }}'
        self.change(fn=None, _js=follow, inputs=[self])
        label = kwargs.get("label", "Accordion")
        given = {
            **kwargs,
            "elem_id": self.accordion_id,
            "label": label,
            "elem_classes": ["input-accordion"],
            "open": value,
        }
        self.accordion = gr.Accordion(**given)

    def extra(self) -> Any:
        """A column inside the accordion's header."""
        return gr.Column(elem_id=self.accordion_id + "-extra", elem_classes="input-accordion-extra", min_width=0)

    def __enter__(self) -> InputAccordion:
        self.accordion.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self.accordion.__exit__(kind, value, tb)

    def get_block_name(self) -> str:
        return "checkbox"
