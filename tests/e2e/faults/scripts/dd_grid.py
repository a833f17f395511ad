"""Test support, loaded by a WebUI as an extension: a selectable script that makes several pictures of one request, as
the hosts' X/Y/Z plot makes its cells.

What bites is the same: each cell is a shallow copy of the request that nobody closes, and of a cell's result the first
picture and the first infotext alone are kept.
"""

from __future__ import annotations

import json
from copy import copy
from typing import Any

import gradio as gr
from modules import images, processing, scripts


class Grid(scripts.Script):
    def title(self) -> str:
        return "DD grid"

    def ui(self, is_img2img: bool) -> list[Any]:
        return [
            gr.Textbox(label="Field of the request", value="cfg_scale"),
            gr.Textbox(label="Its values, as JSON", value="[3, 5]"),
        ]

    def run(self, p: Any, field: str, values: str) -> Any:
        """The grid first, then the cells."""
        processing.fix_seed(p)
        cells = []
        for value in json.loads(values):
            cell = copy(p)
            cell.styles = list(p.styles)
            setattr(cell, field, value)
            cells.append(processing.process_images(cell))
        result = copy(cells[0])
        made = [cell for cell in cells if cell.images]
        result.images = [cell.images[0] for cell in made]
        result.infotexts = [cell.infotexts[0] for cell in made]
        result.all_seeds, result.all_prompts = [cell.seed for cell in made], [cell.prompt for cell in made]
        if made:
            result.images.insert(0, images.image_grid(result.images, rows=1))
            result.infotexts.insert(0, result.infotexts[0])
        result.index_of_first_image = 1
        return result
