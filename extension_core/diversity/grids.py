"""Labelled grids of images."""

from __future__ import annotations

import inspect
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

_PAPER, _INK, _MUTED = (250, 250, 252), (30, 28, 40), (110, 108, 120)


def _sheet(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.full((height, width, 3), _PAPER, np.uint8))


def _text(words: str, height: int, colour: tuple[int, int, int]) -> Image.Image:
    """One line of text about `height` pixels high; Pillow before 10.1 has one bitmap size only, which is enlarged."""
    sizable = "size" in inspect.signature(ImageFont.load_default).parameters
    font = ImageFont.load_default(height) if sizable else ImageFont.load_default()
    left, top, right, bottom = font.getbbox(words or " ")
    line = _sheet(int(right - left) + 2, int(bottom - top) + 2)
    ImageDraw.Draw(line).text((1 - left, 1 - top), words, fill=colour, font=font)
    times = 1 if sizable else max(1, round(height / 11))
    return line.resize((line.width * times, line.height * times), Image.Resampling.NEAREST)


def image_grid(
    images: np.ndarray, columns: int, title: str = "", note: str = "", labels: Sequence[str] = (), gap: int = 6
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
    sheet = _sheet(sheet_width, head + rows * (height + foot + gap) + gap)
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
