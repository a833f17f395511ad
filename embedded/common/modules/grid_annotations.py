"""Legends above the columns and beside the rows of a grid."""

from __future__ import annotations

import functools
import importlib.util
import itertools
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont


class GridAnnotation:
    """A text of a legend; one that is not active is grey."""

    def __init__(self, text: str = "", is_active: bool = True) -> None:
        self.text, self.is_active = text, is_active


@functools.cache
def _font(size: int) -> Any:
    """DejaVu Sans, which is there wherever gradio is: that needs matplotlib."""
    spec = importlib.util.find_spec("matplotlib")
    assert spec is not None
    assert spec.origin is not None
    return ImageFont.truetype(str(Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"), size)


def _label(annotations: Sequence[GridAnnotation], width: int, size: int) -> Image.Image:
    """The texts on a strip of this width, as high as they need; of no height where all are empty."""
    lines = [line for one in annotations for line in textwrap.wrap(one.text, max(width * 2 // size, 1))]
    strip = Image.new("RGB", (width, size * 5 // 4 * len(lines)), "white")
    if lines:
        ImageDraw.Draw(strip).multiline_text((width // 2, 0), "\n".join(lines), "black", _font(size), "ma", 0, "center")
    return strip


def draw_grid_annotations(
    im: Image.Image,
    width: int,
    height: int,
    hor_texts: Sequence[Sequence[GridAnnotation]],
    ver_texts: Sequence[Sequence[GridAnnotation]],
    margin: int = 0,
) -> Image.Image:
    """The grid `im` of cells of this size, one text above each column and one left of each row, cells `margin` apart.
    Where all texts of a side are empty it has no room of its own.
    """
    size = max((width + height) // 25, 8)
    above, beside = ([_label(texts, width, size) for texts in side] for side in (hor_texts, ver_texts))
    top = max(label.height for label in above)
    left = width if any(label.height for label in beside) else 0
    columns, rows = (
        [start + k * (cell + margin) for k in range(count)]
        for start, cell, count in ((left, width, len(above)), (top, height, len(beside)))
    )
    sheet = Image.new("RGB", (columns[-1] + width, rows[-1] + height), "white")
    for x, label in zip(columns, above):
        sheet.paste(label, (x, top - label.height))
    for y, label in zip(rows, beside):
        sheet.paste(label, (0, y + max(height - label.height, 0) // 2))
    for (row, y), (column, x) in itertools.product(enumerate(rows), enumerate(columns)):
        left_edge, upper = column * width, row * height
        sheet.paste(im.crop((left_edge, upper, left_edge + width, upper + height)), (x, y))
    return sheet
