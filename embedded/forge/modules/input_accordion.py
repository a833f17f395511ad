"""The accordion that is a checkbox."""

from __future__ import annotations

import functools
from types import TracebackType
from typing import Any

import gradio as gr

from modules import gradio_extensions  # noqa: F401


class InputAccordionImpl(gr.Checkbox):
    """An accordion whose state is a value: True where it is open. It is a hidden checkbox "<elem_id>-checkbox" and an
    accordion "<elem_id>" which the page's JavaScript keeps alike. gradio makes further objects of a component's class
    when it is updated; those, without `setup`, are a checkbox alone.
    """

    global_index = 0

    @functools.wraps(gr.Checkbox.__init__)
    def __init__(self, value: Any = None, setup: bool = False, **kwargs: Any) -> None:
        if not setup:
            super().__init__(value=value, **kwargs)
            return
        self.accordion_id = kwargs.get("elem_id") or f"input-accordion-{InputAccordionImpl.global_index}"
        InputAccordionImpl.global_index += "elem_id" not in kwargs
        super().__init__(value=value, **{**kwargs, "elem_id": f"{self.accordion_id}-checkbox", "visible": False})
        follow = f'function(checked){{ inputAccordionChecked("{self.accordion_id}", checked); }}'
        self.change(fn=None, _js=follow, inputs=[self])
        given = {"label": "Accordion", **kwargs, "elem_id": self.accordion_id, "elem_classes": ["input-accordion"]}
        self.accordion = gr.Accordion(**given, open=value)

    def extra(self) -> Any:
        """A column inside the accordion's header."""
        return gr.Column(elem_id=f"{self.accordion_id}-extra", elem_classes="input-accordion-extra", min_width=0)

    def __enter__(self) -> InputAccordionImpl:
        self.accordion.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self.accordion.__exit__(kind, value, tb)

    def get_block_name(self) -> str:
        return "checkbox"


def InputAccordion(value: Any = None, **kwargs: Any) -> InputAccordionImpl:
    return InputAccordionImpl(value=value, setup=True, **kwargs)
