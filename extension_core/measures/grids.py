"""Labelled grids of images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray
from PIL import Image

from .lettering import Colour, blank, line_of_text

_PAPER, _INK, _MUTED = (250, 250, 252), (30, 28, 40), (110, 108, 120)


def _text(words: str, height: int, ink: Colour) -> Image.Image:
    return line_of_text(words, height, ink, _PAPER)


def image_grid(
    images: NDArray[Any], columns: int, title: str = "", note: str = "", labels: Sequence[str] = (), gap: int = 6
) -> Image.Image:
    """A grid of uint8 images [n, h, w, 3], row by row, with a title, a note below it and a label under each image."""
    n, height, width = images.shape[:3]
    if n == 0 or columns < 1:
        raise ValueError(f"a grid of {n} images in {columns} columns cannot be drawn: give at least one of each")
    if labels and len(labels) != n:
        raise ValueError(f"{len(labels)} labels were given for {n} images: give one for each, or none")
    columns = min(columns, n)
    rows = -(-n // columns)
    foot = 18 if labels else 0
    lines = [_text(title, 22, _INK)] if title else []
    lines += [_text(note, 13, _MUTED)] if note else []
    head = sum(line.height + gap for line in lines) + (gap if lines else 0)
    inner = columns * (width + gap) - gap
    sheet_width = max([inner, *(line.width for line in lines)]) + 2 * gap
    sheet = blank(sheet_width, head + rows * (height + foot + gap) + gap, _PAPER)
    y = gap
    for line in lines:
        sheet.paste(line, (gap, y))
        y += line.height + gap
    for index, picture in enumerate(images):
        x = gap + (index % columns) * (width + gap)
        y = head + gap + (index // columns) * (height + foot + gap)
        sheet.paste(Image.fromarray(picture), (x, y))
        if labels:
            label = _text(labels[index], 12, _MUTED)
            sheet.paste(label.crop((0, 0, min(width, label.width), min(foot - 2, label.height))), (x, y + height + 2))
    return sheet
