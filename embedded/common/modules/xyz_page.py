"""The X/Y/Z plot's components on the page, and what they do to each other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr

from modules.ui_components import ToolButton
from modules.xyz_axis import Axis
from modules.xyz_values import csv_string_to_list_strip, list_to_csv_string

_FILL = "\U0001f4d2"
ElemId = Callable[[str], str]


class AxisRow:
    """Type and values of one axis. Values are typed or, where the type has choices, chosen."""

    def __init__(self, letter: str, axes: list[Axis], selected: int, elem_id: ElemId) -> None:
        self.letter, self.axes = letter, axes
        name, labels = letter.lower(), [x.label for x in axes]
        with gr.Row():
            self.kind = gr.Dropdown(
                label=f"{letter} type",
                choices=labels,
                value=labels[selected],
                type="index",
                elem_id=elem_id(f"{name}_type"),
            )
            self.values = gr.Textbox(label=f"{letter} values", lines=1, elem_id=elem_id(f"{name}_values"))
            self.chosen = gr.Dropdown(label=f"{letter} values", visible=False, multiselect=True, interactive=True)
            self.fill = ToolButton(value=_FILL, elem_id=f"xyz_grid_fill_{name}_tool_button", visible=False)

    @property
    def inputs(self) -> list[Any]:
        return [self.kind, self.values, self.chosen]

    @property
    def shown(self) -> list[Any]:
        return [self.fill, self.values, self.chosen]

    def connect(self, csv_mode: Any) -> None:
        values = [self.values, self.chosen]
        self.fill.click(fn=self._all_choices, inputs=[self.kind, csv_mode], outputs=values)
        self.kind.change(fn=self.select, inputs=[*self.inputs, csv_mode], outputs=self.shown)

    def _all_choices(self, kind: int, csv_mode: bool) -> tuple[Any, Any]:
        choices = self.axes[kind].choices
        if not choices:
            return gr.update(), gr.update()
        return (list_to_csv_string(choices()), gr.update()) if csv_mode else (gr.update(), choices())

    def select(self, kind: int | None, values: str, chosen: list[str], csv_mode: bool) -> tuple[Any, Any, Any]:
        """What shows for a type; values that it knows move between the text and the drop-down."""
        axis = self.axes[kind or 0]
        choices = axis.choices() if axis.choices is not None else None
        if choices is not None and csv_mode and chosen:
            values, chosen = list_to_csv_string([x for x in chosen if x in choices]), []
        elif choices is not None and not csv_mode and values:
            values, chosen = "", [x for x in csv_string_to_list_strip(values) if x in choices]
        from_list = axis.is_chosen(csv_mode)
        return (
            gr.update(visible=choices is not None),
            gr.update(visible=not from_list, value=values),
            gr.update(choices=choices, visible=from_list, value=chosen),
        )

    def infotext_fields(self) -> list[tuple[Any, Any]]:
        def pasted(params: dict[str, Any]) -> Any:
            return gr.update(value=csv_string_to_list_strip(params.get(f"{self.letter} Values", "")))

        return [(self.kind, f"{self.letter} Type"), (self.values, f"{self.letter} Values"), (self.chosen, pasted)]


def _connect_swap(button: Any, one: AxisRow, other: AxisRow) -> None:
    def swapped(kind: int, values: str, chosen: Any, kind2: int, values2: str, chosen2: Any) -> tuple[Any, ...]:
        return one.axes[kind2].label, values2, chosen2, one.axes[kind].label, values, chosen

    both = [*one.inputs, *other.inputs]
    button.click(fn=swapped, inputs=both, outputs=both)


class PlotPage:
    """`inputs` in the order of the script's arguments."""

    def __init__(self, axes: list[Axis], elem_id: ElemId) -> None:
        self._elem_id = elem_id
        with gr.Row(), gr.Column(scale=19):
            self.rows = [AxisRow(x, axes, selected, elem_id) for x, selected in (("X", 1), ("Y", 0), ("Z", 0))]
        options = self._options()
        with gr.Row(variant="compact", elem_id="swap_axes"):
            pairs = [(0, 1), (1, 2), (0, 2)]
            buttons = [self._swap_button(self.rows[a].letter, self.rows[b].letter) for a, b in pairs]
        for button, (a, b) in zip(buttons, pairs, strict=True):
            _connect_swap(button, self.rows[a], self.rows[b])
        self._connect(options[-1])
        self.inputs = [component for row in self.rows for component in row.inputs] + options

    def infotext_fields(self) -> list[tuple[Any, Any]]:
        return [field for row in self.rows for field in row.infotext_fields()]

    def _box(self, name: str, label: str, value: bool = False, **more: Any) -> Any:
        return gr.Checkbox(label=label, value=value, elem_id=self._elem_id(name), **more)

    def _seed_box(self, letter: str) -> Any:
        told = {"min_width": 80, "tooltip": f"Gives each place along {letter} a seed of its own."}
        return self._box(f"vary_seeds_{letter.lower()}", f"Vary seeds for {letter}", **told)

    def _options(self) -> list[Any]:
        with gr.Row(variant="compact", elem_id="axis_options"):
            with gr.Column():
                draw_legend = self._box("draw_legend", "Draw legend", True)
                no_fixed_seeds = self._box("no_fixed_seeds", "Keep -1 for seeds")
                with gr.Row():
                    vary_seeds = [self._seed_box(row.letter) for row in self.rows]
            with gr.Column():
                lone_images = self._box("include_lone_images", "Include Sub Images")
                sub_grids = self._box("include_sub_grids", "Include Sub Grids")
                csv_mode = self._box("csv_mode", "Use text inputs instead of dropdowns")
            with gr.Column():
                size = {"minimum": 0, "maximum": 500, "value": 0, "step": 2}
                margin = gr.Slider(label="Grid margins (px)", elem_id=self._elem_id("margin_size"), **size)
        return [draw_legend, lone_images, sub_grids, no_fixed_seeds, *vary_seeds, margin, csv_mode]

    def _swap_button(self, one: str, other: str) -> Any:
        name = f"{one}{other}".lower()
        return gr.Button(value=f"Swap {one}/{other} axes", elem_id=f"{name}_grid_swap_axes_button")

    def _connect(self, csv_mode: Any) -> None:
        for row in self.rows:
            row.connect(csv_mode)

        def change_mode(csv: bool, *values: Any) -> list[Any]:
            parts = [row.select(*values[i * 3 : i * 3 + 3], csv) for i, row in enumerate(self.rows)]
            return [update for part in parts for update in part]

        inputs = [component for row in self.rows for component in row.inputs]
        outputs = [component for row in self.rows for component in row.shown]
        csv_mode.change(fn=change_mode, inputs=[csv_mode, *inputs], outputs=outputs)
