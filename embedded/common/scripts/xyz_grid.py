"""The X/Y/Z plot: one request, made once for each combination of the values along up to three axes.

Extensions add to `axis_options` of this file's module before the page is built, and lose what they added when "Reload
UI" executes it again.
"""

from __future__ import annotations

import csv
import itertools
import math
import re
from collections.abc import Callable
from copy import copy
from typing import Any

import gradio as gr
from modules import errors, images, processing, scripts, sd_models, sd_samplers, shared
from modules.ui_components import ToolButton
from PIL import Image

NOTHING = "Nothing"


class AxisOption:
    """`type` makes a value of a text, `apply(cell, value, all values)` puts it into a cell's request, `confirm(p,
    values)` raises before anything runs. The axis of the highest `cost` changes least often.
    """

    def __init__(
        self, label, type, apply, format_value=None, confirm=None, cost=0.0, choices=None, prepare=None
    ) -> None:
        self.label, self.type, self.apply, self.confirm = label, type, apply, confirm
        self.format_value = format_value or (lambda p, axis, value: f"{label}: {value}")
        self.cost, self.choices, self.prepare = cost, choices, prepare


class AxisOptionImg2Img(AxisOption):
    is_img2img = True


class AxisOptionTxt2Img(AxisOption):
    is_img2img = False


def _field(name: str) -> Callable[[Any, Any, Any], None]:
    return lambda cell, value, _values: setattr(cell, name, value)


def _checkpoint(cell: Any, value: str, _values: Any) -> None:
    cell.override_settings = {**cell.override_settings, "sd_model_checkpoint": value}


def _replace_text(cell: Any, text: str, texts: list[str]) -> None:
    for name in ("prompt", "negative_prompt"):
        setattr(cell, name, getattr(cell, name).replace(texts[0], text))


def _confirm_models(_p: Any, names: list[str]) -> None:
    for name in names:
        if sd_models.get_closet_checkpoint_match(name) is None:
            raise RuntimeError(f"Unknown checkpoint: {name}")


_MODELS: dict[str, Any] = {"confirm": _confirm_models, "cost": 1.0}
axis_options = [
    AxisOption(NOTHING, str, lambda cell, value, values: None, lambda p, axis, value: ""),
    AxisOption("Seed", int, _field("seed")),
    AxisOption("Steps", int, _field("steps")),
    AxisOptionTxt2Img("Hires steps", int, _field("hr_second_pass_steps")),
    AxisOption("CFG Scale", float, _field("cfg_scale")),
    AxisOption("Prompt S/R", str, _replace_text),
    AxisOption("Sampler", str, _field("sampler_name"), choices=sd_samplers.visible_sampler_names),
    AxisOption("Checkpoint name", str, _checkpoint, choices=sd_models.checkpoint_tiles, **_MODELS),
    AxisOption("Denoising", float, _field("denoising_strength")),
    AxisOption("Refiner checkpoint", str, _field("refiner_checkpoint"), choices=sd_models.checkpoint_tiles, **_MODELS),
    AxisOption("Refiner switch at", float, _field("refiner_switch_at")),
]


def _values(p: Any, axis: AxisOption, line: str, chosen: list[str]) -> list[Any]:
    """An axis's values, confirmed; of whole numbers "first-last" is a range."""
    if axis.label == NOTHING:
        return [""]
    if axis.choices or axis.prepare:
        given = axis.prepare(line) if axis.prepare else chosen
    else:
        given = [text.strip() for row in csv.reader([line], skipinitialspace=True) for text in row]
    values = []
    for text in given:
        ends = re.fullmatch(r"(\d+)\s*-\s*(\d+)", text) if axis.type is int else None
        values += range(int(ends[1]), int(ends[2]) + 1) if ends else [axis.type(text)]
    if axis.confirm is not None:
        axis.confirm(p, values)
    return values


class Script(scripts.Script):
    def title(self) -> str:
        return "X/Y/Z plot"

    def ui(self, is_img2img: bool) -> list[Any]:
        """What the hosts have beyond this is there for its place among the arguments, unseen."""
        self.axes = [x for x in axis_options if type(x) is AxisOption or getattr(x, "is_img2img", None) == is_img2img]
        rows = [component for letter in "xyz" for component in self._row(letter)]
        boxes = [gr.Checkbox(place == 0, visible=False) for place in range(7)]
        return [*rows, *boxes, gr.Number(0, visible=False, precision=0), gr.Checkbox(False, visible=False)]

    def _row(self, letter: str) -> list[Any]:
        """Type, typed values and chosen values of one axis; the one of the two that its type wants is shown."""
        labels, name = [axis.label for axis in self.axes], letter.upper()
        with gr.Row():
            of_type = {"value": labels[0], "type": "index", "elem_id": self.elem_id(f"{letter}_type")}
            kind = gr.Dropdown(labels, label=f"{name} type", **of_type)
            typed = gr.Textbox(label=f"{name} values", lines=1, elem_id=self.elem_id(f"{letter}_values"))
            chosen = gr.Dropdown(label=f"{name} values", visible=False, multiselect=True, interactive=True)
            fill = ToolButton("\U0001f4d2", elem_id=f"xyz_grid_fill_{letter}_tool_button", visible=False)

        def shown(place: int | None) -> tuple[Any, Any, Any]:
            choices = self.axes[place or 0].choices
            visible = gr.update(visible=choices is not None)
            listed = gr.update(visible=choices is not None, choices=choices() if choices else [], value=[])
            return gr.update(visible=choices is None), listed, visible

        kind.change(fn=shown, inputs=[kind], outputs=[typed, chosen, fill])
        fill.click(fn=lambda place: (self.axes[place].choices or list)(), inputs=[kind], outputs=[chosen])
        return [kind, typed, chosen]

    def run(
        self,
        p: Any,
        x_type: int | None,
        x_values: str,
        x_values_dropdown: list[str],
        y_type: int | None,
        y_values: str,
        y_values_dropdown: list[str],
        z_type: int | None,
        z_values: str,
        z_values_dropdown: list[str],
        draw_legend: bool,
        include_lone_images: bool,
        include_sub_grids: bool,
        no_fixed_seeds: bool,
        vary_seeds_x: bool,
        vary_seeds_y: bool,
        vary_seeds_z: bool,
        margin_size: int,
        csv_mode: bool,
    ) -> Any:
        """The grid first, then the cells along x, y and z; those of several z are one grid each, side by side in it."""
        lines = ((x_values, x_values_dropdown), (y_values, y_values_dropdown), (z_values, z_values_dropdown))
        processing.fix_seed(p)
        if not shared.opts.return_grid:
            p.batch_size = 1
        axes = [self.axes[kind or 0] for kind in (x_type, y_type, z_type)]
        values = [_values(p, axis, *line) for axis, line in zip(axes, lines)]
        cells = _made(p, axes, values)
        made = [cell for cell in cells if cell is not None]
        if not made:
            return processing.Processed(p, [])
        black = Image.new(made[0].images[0].mode, made[0].images[0].size)
        pictures = [black if cell is None else cell.images[0] for cell in cells]
        texts = [
            [axis.format_value(p, axis, v) if draw_legend else "" for v in along] for axis, along in zip(axes, values)
        ]
        in_plane = len(values[0]) * len(values[1])
        planes = [pictures[i : i + in_plane] for i in range(0, len(pictures), in_plane)]
        grid = _grid([_grid(plane, texts[0], texts[1], margin_size) for plane in planes], texts[2], [""], 0)
        told = [made[0], *(cell or made[0] for cell in cells if include_lone_images)]
        result = copy(made[0])
        result.images = [grid, *(pictures if include_lone_images else ())]
        result.infotexts = [cell.infotexts[0] for cell in told]
        result.all_prompts, result.all_seeds = [cell.prompt for cell in told], [cell.seed for cell in told]
        result.index_of_first_image = 1
        return result


def _made(p: Any, axes: list[AxisOption], values: list[list[Any]]) -> list[Any]:
    """What each cell gave, x fastest; None where it failed or was interrupted. Cells are shallow copies of `p`."""
    sizes = [len(along) for along in values]
    made: list[Any] = [None] * math.prod(sizes)
    shared.state.job_count = len(made) * p.n_iter
    order = sorted((2, 1, 0), key=lambda k: -axes[k].cost)
    for indices in itertools.product(*(range(sizes[k]) for k in order)):
        if shared.state.interrupted or shared.state.stopping_generation:
            break
        place = dict(zip(order, indices))
        cell = copy(p)
        cell.styles = list(p.styles)
        for k, axis in enumerate(axes):
            axis.apply(cell, values[k][place[k]], values[k])
        try:
            given = processing.process_images(cell)
        except Exception as fault:  # the other cells are made all the same
            errors.display(fault, "a cell of the X/Y/Z plot")
        else:
            made[place[0] + sizes[0] * (place[1] + sizes[1] * place[2])] = given if given.images else None
    return made


def _grid(pictures: list[Image.Image], across: list[Any], down: list[Any], margin: int) -> Image.Image:
    grid = images.image_grid(pictures, rows=len(down))
    size = (max(picture.width for picture in pictures), max(picture.height for picture in pictures))
    legends = [[[images.GridAnnotation(str(text))] for text in texts] for texts in (across, down)]
    return images.draw_grid_annotations(grid, *size, *legends, margin)
