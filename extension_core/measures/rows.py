"""A sheet of rows of pictures, each row with its name and what was measured of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from .lettering import blank, fitting_line

_PAPER, _INK, _MUTED = (250, 250, 252), (30, 28, 40), (90, 88, 100)
# What viewers and file formats still take well.
WIDEST = 8192


@dataclass(frozen=True)
class Row:
    """Pictures side by side.

    Attributes:
        name: stands above them.
        measured: stands below them, "" for nothing.
    """

    name: str
    measured: str
    pictures: Sequence[Image.Image]


def sheet_of_rows(rows: Sequence[Row], widest: int = WIDEST) -> Image.Image:
    """The rows below one another, RGB; pictures that would make it wider than `widest` pixels are made smaller."""
    longest = max(len(row.pictures) for row in rows)
    side = max(picture.width for row in rows for picture in row.pictures)
    gap = max(4, side // 64)
    room = min(side + gap, (widest - gap) // longest)  # of a picture and the gap beside it
    gap = max(1, min(gap, room // 8))
    width = max(1, room - gap)
    letter = max(12, min(width // 14, 48))
    drawn = [_drawn(row, width, longest, gap, letter) for row in rows]
    sheet = blank(drawn[0].width, sum(part.height for part in drawn) + gap, _PAPER)
    top = 0
    for part in drawn:
        sheet.paste(part, (0, top))
        top += part.height
    return sheet


def _drawn(row: Row, width: int, columns: int, gap: int, letter: int) -> Image.Image:
    pictures = [_narrowed(picture, width) for picture in row.pictures]
    height, line = max(picture.height for picture in pictures), letter * 3 // 2
    part = blank(columns * (width + gap) + gap, gap + line + height + (line if row.measured else 0), _PAPER)
    room = part.width - 2 * gap
    part.paste(fitting_line(row.name, letter, room, _INK, _PAPER), (gap, gap))
    for place, picture in enumerate(pictures):
        part.paste(picture, (gap + place * (width + gap), gap + line))
    if row.measured:
        words = fitting_line(row.measured, letter, room, _MUTED, _PAPER)
        part.paste(words, (gap, gap + line + height + (line - words.height) // 2))
    return part


def _narrowed(picture: Image.Image, width: int) -> Image.Image:
    if picture.width <= width:
        return picture
    return picture.resize((width, max(1, picture.height * width // picture.width)), Image.Resampling.LANCZOS)
