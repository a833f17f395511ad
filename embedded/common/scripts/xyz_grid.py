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
import numpy as np
from modules import errors, images, processing, scripts, sd_models, sd_samplers, sd_schedulers, shared
from modules.ui_components import ToolButton
from PIL import Image

NOTHING, TITLE = "Nothing", "X/Y/Z plot"
_NUMBER = r"([+-]?\d+(?:\.\d*)?)"
_RANGE = re.compile(rf"\s*{_NUMBER}\s*-\s*{_NUMBER}\s*(?:\(\s*{_NUMBER}\s*\)|\[\s*(\d+)\s*\])?\s*")


class AxisOption:
    """`type` makes a value of a text, `apply(cell, value, all values)` puts it into a cell's request, `confirm(p,
    values)` raises before anything runs. The axis of the highest `cost` changes least often.
    """

    def __init__(
        self,
        label: str,
        type: Any,
        apply: Callable[[Any, Any, Any], Any],
        format_value: Callable[[Any, Any, Any], Any] | None = None,
        confirm: Callable[[Any, list[Any]], Any] | None = None,
        cost: float = 0.0,
        choices: Callable[[], list[str]] | None = None,
        prepare: Callable[[str], list[str]] | None = None,
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


def _setting(name: str) -> Callable[[Any, Any, Any], None]:
    def apply(cell: Any, value: Any, _values: Any) -> None:
        cell.override_settings = {**cell.override_settings, name: value}

    return apply


def _replace_text(cell: Any, text: str, texts: list[str]) -> None:
    for name in ("prompt", "negative_prompt"):
        setattr(cell, name, getattr(cell, name).replace(texts[0], text))


def _known(names: Callable[[], list[str]]) -> Callable[[Any, list[str]], None]:
    def confirm(_p: Any, values: list[str]) -> None:
        if unknown := [value for value in values if value not in names()]:
            raise RuntimeError(f"Not known: {', '.join(unknown)}")

    return confirm


def _confirm_models(_p: Any, names: list[str]) -> None:
    missing = [name for name in names if name != "None" and sd_models.get_closet_checkpoint_match(name) is None]
    if missing:
        raise RuntimeError(f"Unknown checkpoint: {', '.join(missing)}")


def _schedules() -> list[str]:
    return [schedule.label for schedule in sd_schedulers.schedulers]


axis_options = [
    AxisOption(NOTHING, str, lambda cell, value, values: None, lambda p, axis, value: ""),
    AxisOption("Seed", int, _field("seed")),
    AxisOption("Steps", int, _field("steps")),
    AxisOptionTxt2Img("Hires steps", int, _field("hr_second_pass_steps")),
    AxisOption("CFG Scale", float, _field("cfg_scale")),
    AxisOption("Prompt S/R", str, _replace_text),
    AxisOption(
        "Sampler",
        str,
        _field("sampler_name"),
        confirm=_known(sd_samplers.visible_sampler_names),
        choices=sd_samplers.visible_sampler_names,
    ),
    AxisOption("Schedule type", str, _field("scheduler"), confirm=_known(_schedules), choices=_schedules),
    AxisOption(
        "Checkpoint name",
        str,
        _setting("sd_model_checkpoint"),
        confirm=_confirm_models,
        cost=1.0,
        choices=sd_models.checkpoint_tiles,
    ),
    AxisOption("Clip skip", int, _setting("CLIP_stop_at_last_layers")),
    AxisOption("Denoising", float, _field("denoising_strength")),
    AxisOption(
        "Refiner checkpoint",
        str,
        _field("refiner_checkpoint"),
        confirm=_confirm_models,
        cost=1.0,
        choices=lambda: ["None", *sd_models.checkpoint_tiles()],
    ),
    AxisOption("Refiner switch at", float, _field("refiner_switch_at")),
]


def _texts(line: str) -> list[str]:
    return [text.strip() for row in csv.reader([line], skipinitialspace=True) for text in row]


def _expanded(text: str, kind: type) -> list[Any]:
    """The numbers of "first - last", "first - last (step)" or "first - last [count]"; else the text itself."""
    found = _RANGE.fullmatch(text)
    if found is None:
        return [text]
    first, last, step = (float(number or 1) for number in found.groups()[:3])
    count = int(found[4]) if found[4] else math.floor((last - first) / step + 1e-9) + 1
    numbers = np.linspace(first, last, count) if found[4] else first + step * np.arange(max(count, 0))
    return [kind(number) for number in numbers.tolist()]


class _Along:
    """One axis of a plot with its values, confirmed."""

    def __init__(self, p: Any, axis: AxisOption, line: str, chosen: list[str], csv_mode: bool) -> None:
        self.axis = axis
        if axis.label == NOTHING:
            self.values: list[Any] = [""]
            return
        given = chosen if axis.choices and not csv_mode else (axis.prepare or _texts)(line)
        if axis.type in (int, float) and axis.prepare is None:
            given = [number for text in given for number in _expanded(text, axis.type)]
        self.values = [axis.type(value) for value in given]
        if axis.confirm is not None:
            axis.confirm(p, self.values)

    def legends(self, p: Any) -> list[list[images.GridAnnotation]]:
        return [[images.GridAnnotation(str(self.axis.format_value(p, self.axis, value)))] for value in self.values]


class Script(scripts.Script):
    def title(self) -> str:
        return TITLE

    def ui(self, is_img2img: bool) -> list[Any]:
        self.axes = [x for x in axis_options if type(x) is AxisOption or getattr(x, "is_img2img", None) == is_img2img]
        rows = [component for letter in "xyz" for component in self._row(letter)]
        boxes = {
            "draw_legend": ("Draw legend", True),
            "include_lone_images": ("Include Sub Images", False),
            "include_sub_grids": ("Include Sub Grids", False),
            "no_fixed_seeds": ("Keep -1 for seeds", False),
            **{f"vary_seeds_{letter}": (f"Vary seeds for {letter.upper()}", False) for letter in "xyz"},
        }
        with gr.Row():
            options = [
                gr.Checkbox(label=label, value=value, elem_id=self.elem_id(name))
                for name, (label, value) in boxes.items()
            ]
        margin = gr.Slider(label="Grid margins (px)", minimum=0, maximum=500, value=0, step=2)
        return [*rows, *options, margin, gr.Checkbox(label="Use text inputs instead of dropdowns", value=False)]

    def _row(self, letter: str) -> list[Any]:
        """Type, typed values and chosen values of one axis; the one of the two that its type wants is shown."""
        labels, name = [axis.label for axis in self.axes], letter.upper()
        with gr.Row():
            kind = gr.Dropdown(
                label=f"{name} type",
                choices=labels,
                value=labels[0],
                type="index",
                elem_id=self.elem_id(f"{letter}_type"),
            )
            typed = gr.Textbox(label=f"{name} values", lines=1, elem_id=self.elem_id(f"{letter}_values"))
            chosen = gr.Dropdown(label=f"{name} values", visible=False, multiselect=True, interactive=True)
            fill = ToolButton("\U0001f4d2", elem_id=f"xyz_grid_fill_{letter}_tool_button", visible=False)

        def shown(place: int | None) -> tuple[Any, Any, Any]:
            choices = self.axes[place or 0].choices
            known = choices() if choices else []
            return (
                gr.update(visible=choices is None),
                gr.update(visible=choices is not None, choices=known, value=[]),
                gr.update(visible=choices is not None),
            )

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
        asked = (
            (x_type, x_values, x_values_dropdown),
            (y_type, y_values, y_values_dropdown),
            (z_type, z_values, z_values_dropdown),
        )
        if not no_fixed_seeds:
            processing.fix_seed(p)
        if not shared.opts.return_grid:
            p.batch_size = 1
        axes = [_Along(p, self.axes[kind or 0], line, chosen, csv_mode) for kind, line, chosen in asked]
        vary = (vary_seeds_x, vary_seeds_y, vary_seeds_z)
        cells = _made(p, axes, vary)
        if not any(cells):
            return processing.Processed(p, [])
        result = copy(next(cell for cell in cells if cell is not None))
        pictures = _pictures(cells)
        columns, rows = len(axes[0].values), len(axes[1].values)
        across, down, along = (axis.legends(p) for axis in axes)
        if not draw_legend:
            across, down, along = ([[images.GridAnnotation()] for _ in lines] for lines in (across, down, along))
        planes = [pictures[i : i + columns * rows] for i in range(0, len(pictures), columns * rows)]
        subs = [_grid(plane, rows, across, down, margin_size) for plane in planes]
        grids = [_grid(subs, 1, along, [[images.GridAnnotation()]], 0), *(subs if include_sub_grids else ())]
        told = [result] * len(grids)
        result.images = list(grids)
        if include_lone_images:
            told += [result if cell is None else cell for cell in cells]
            result.images += pictures
        result.infotexts = [cell.infotexts[0] for cell in told]
        result.all_prompts, result.all_seeds = [cell.prompt for cell in told], [cell.seed for cell in told]
        result.index_of_first_image = len(grids)
        if shared.opts.grid_save:
            place = {"info": result.infotexts[0], "extension": shared.opts.grid_format, "grid": True, "p": result}
            images.save_image(grids[0], p.outpath_grids, "xyz_grid", seed=result.seed, prompt=result.prompt, **place)
        return result


def _made(p: Any, axes: list[_Along], vary: tuple[bool, ...]) -> list[Any]:
    """What each cell gave, x fastest; None where it failed or was interrupted. Cells are shallow copies of `p`."""
    sizes = [len(axis.values) for axis in axes]
    state, count = shared.state, math.prod(sizes)
    state.job_count = count * p.n_iter
    order = sorted((2, 1, 0), key=lambda k: -axes[k].axis.cost)
    made: list[Any] = [None] * count
    for number, indices in enumerate(itertools.product(*(range(sizes[k]) for k in order))):
        if state.interrupted or state.stopping_generation:
            break
        state.job = f"{number + 1} out of {count}"
        place = dict(zip(order, indices, strict=True))
        cell = copy(p)
        cell.styles = list(p.styles)
        for k, axis in enumerate(axes):
            axis.axis.apply(cell, axis.values[place[k]], axis.values)
        strides = itertools.accumulate((size if varies else 1 for size, varies in zip(sizes, vary)), initial=1)
        cell.seed += sum(place[k] * stride for k, stride in zip(range(3), strides) if vary[k])
        try:
            given = processing.process_images(cell)
        except Exception as fault:  # the other cells are made all the same
            errors.display(fault, "a cell of the X/Y/Z plot")
            continue
        made[place[0] + sizes[0] * (place[1] + sizes[1] * place[2])] = given if given.images else None
    return made


def _pictures(cells: list[Any]) -> list[Image.Image]:
    """The first of each cell, which may be its grid; black ones of that size for those that failed."""
    first = next(cell.images[0] for cell in cells if cell is not None)
    return [Image.new(first.mode, first.size) if cell is None else cell.images[0] for cell in cells]


def _grid(pictures: list[Image.Image], rows: int, across: Any, down: Any, margin: int) -> Image.Image:
    grid = images.image_grid(pictures, rows=rows)
    size = (max(picture.width for picture in pictures), max(picture.height for picture in pictures))
    return images.draw_grid_annotations(grid, *size, across, down, margin)
