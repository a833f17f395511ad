"""Components that fit into forms. Each shows the arguments of gradio's own, by which gradio 4 tells what to send to the
page.
"""

from __future__ import annotations

import functools
from typing import Any

import gradio as gr

from modules.input_accordion import InputAccordion


class FormComponent:
    def get_expected_parent(self) -> Any:
        return gr.components.Form


gr.Dropdown.get_expected_parent = FormComponent.get_expected_parent  # type: ignore[method-assign]


class ToolButton(FormComponent, gr.Button):
    """A button of one symbol."""

    @functools.wraps(gr.Button.__init__)
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        classes = kwargs.pop("elem_classes", [])
        super().__init__(*args, elem_classes=["tool", *classes], **kwargs)

    def get_block_name(self) -> str:
        return "button"


class ResizeHandleRow(gr.Row):
    @functools.wraps(gr.Row.__init__)
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.elem_classes.append("resize-handle-row")

    def get_block_name(self) -> str:
        return "row"


class FormRow(FormComponent, gr.Row):
    def get_block_name(self) -> str:
        return "row"


class FormColumn(FormComponent, gr.Column):
    def get_block_name(self) -> str:
        return "column"


class FormGroup(FormComponent, gr.Group):
    def get_block_name(self) -> str:
        return "group"


class FormHTML(FormComponent, gr.HTML):
    def get_block_name(self) -> str:
        return "html"


class FormColorPicker(FormComponent, gr.ColorPicker):
    def get_block_name(self) -> str:
        return "colorpicker"


class DropdownMulti(FormComponent, gr.Dropdown):
    @functools.wraps(gr.Dropdown.__init__)
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(multiselect=True, **kwargs)

    def get_block_name(self) -> str:
        return "dropdown"


class DropdownEditable(FormComponent, gr.Dropdown):
    @functools.wraps(gr.Dropdown.__init__)
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(allow_custom_value=True, **kwargs)

    def get_block_name(self) -> str:
        return "dropdown"


__all__ = ["InputAccordion"]
