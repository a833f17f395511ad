"""Legends above the columns and beside the rows of a grid."""

from __future__ import annotations

import functools
import importlib.util
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
    letters = max(width * 2 // size, 1)
    lines = [(line, one.is_active) for one in annotations for line in textwrap.wrap(one.text, letters)]
    step = size * 5 // 4
    strip = Image.new("RGB", (width, step * len(lines) + (size if lines else 0)), "white")
    draw = ImageDraw.Draw(strip)
    for number, (line, is_active) in enumerate(lines):
        place = (width // 2, size // 2 + step * number + step // 2)
        draw.text(place, line, "black" if is_active else "#999999", _font(size), anchor="mm")
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
    above = [_label(texts, width, size) for texts in hor_texts]
    beside = [_label(texts, width * 3 // 4, size) for texts in ver_texts]
    top = max((label.height for label in above), default=0)
    left = width * 3 // 4 if any(label.height for label in beside) else 0
    sheet = Image.new(
        "RGB",
        (left + len(above) * (width + margin) - margin, top + len(beside) * (height + margin) - margin),
        "white",
    )
    for column, label in enumerate(above):
        x = left + column * (width + margin)
        sheet.paste(label, (x, (top - label.height) // 2))
        for row in range(len(beside)):
            cell = im.crop((column * width, row * height, (column + 1) * width, (row + 1) * height))
            sheet.paste(cell, (x, top + row * (height + margin)))
    for row, label in enumerate(beside):
        sheet.paste(label, (0, top + row * (height + margin) + max(height - label.height, 0) // 2))
    return sheet
