"""Legends above and beside the pictures of a grid."""

from __future__ import annotations

import functools
import importlib.util
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image, ImageColor, ImageDraw, ImageFont

from modules.shared import opts


class GridAnnotation:
    """A line of a legend; what is not active is struck through."""

    def __init__(self, text: str = "", is_active: bool = True) -> None:
        self.text = text
        self.is_active = is_active
        self.size: tuple[int, int] | None = None


class _Line(NamedTuple):
    text: str
    is_active: bool
    width: int
    height: int


@functools.cache
def _own_font() -> str:
    """The real host brings Roboto; this one is there wherever gradio is, which needs matplotlib."""
    spec = importlib.util.find_spec("matplotlib")
    assert spec is not None and spec.origin is not None, "gradio's matplotlib is not installed"
    return str(Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf")


def get_font(fontsize: int) -> Any:
    try:
        return ImageFont.truetype(opts.font or _own_font(), fontsize)
    except OSError:
        return ImageFont.truetype(_own_font(), fontsize)


def _wrapped(text: str, font: Any, room: int) -> list[str]:
    """Lines that fit; a word that does not has one of its own."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= room:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def _measured(annotations: Sequence[GridAnnotation], font: Any, room: int) -> list[_Line]:
    found = []
    for annotation in annotations:
        for text in _wrapped(annotation.text, font, room):
            left, top, right, bottom = font.getbbox(text)
            found.append(_Line(text, annotation.is_active, right - left, bottom - top))
    return found


def _narrowed(text: str, fontsize: int, room: int) -> Any:
    while get_font(fontsize).getlength(text) > room and fontsize > 1:
        fontsize -= 1
    return get_font(fontsize)


def _colour(name: str) -> Any:
    return ImageColor.getcolor(getattr(opts, name), "RGB")


def _draw(canvas: Any, x: float, y: float, lines: Sequence[_Line], fontsize: int, room: int) -> None:
    """From `y` down, each line centred at `x`."""
    for line in lines:
        middle, half = y + line.height // 2, line.width // 2
        ink = _colour("grid_text_active_color" if line.is_active else "grid_text_inactive_color")
        font = _narrowed(line.text, fontsize, room)
        canvas.text((x, y + line.height / 2), line.text, font=font, fill=ink, anchor="mm")
        if not line.is_active:
            canvas.line((x - half, middle, x + half, middle), fill=ink, width=4)
        y += line.height + fontsize // 2


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
    cols, rows = im.width // width, im.height // height
    assert cols == len(hor_texts), f"bad number of horizontal texts: {len(hor_texts)}; must be {cols}"
    assert rows == len(ver_texts), f"bad number of vertical texts: {len(ver_texts)}; must be {rows}"
    fontsize = (width + height) // 25
    font, spacing = get_font(fontsize), fontsize // 2
    left = width * 3 // 4 if any(line.text for lines in ver_texts for line in lines) else 0
    above = [_measured(lines, font, width) for lines in hor_texts]
    beside = [_measured(lines, font, left) for lines in ver_texts]
    heights = [sum(line.height + spacing for line in lines) - spacing for lines in above]
    top = max(heights) + spacing * 2 if sum(heights) else 0
    size = (im.width + left + margin * (cols - 1), im.height + top + margin * (rows - 1))
    result = Image.new("RGB", size, _colour("grid_background_color"))
    for row, col in itertools.product(range(rows), range(cols)):
        cell = im.crop((width * col, height * row, width * (col + 1), height * (row + 1)))
        result.paste(cell, (left + (width + margin) * col, top + (height + margin) * row))
    canvas = ImageDraw.Draw(result)
    for col, lines in enumerate(above):
        x = left + (width + margin) * col + width / 2
        _draw(canvas, x, (top - heights[col]) / 2, lines, fontsize, width)
    for row, lines in enumerate(beside):
        middle = top + (height + margin) * row + height / 2
        _draw(canvas, left / 2, middle - sum(line.height for line in lines) / 2, lines, fontsize, left)
    return result
