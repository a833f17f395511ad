"""The contact sheet: rows are images, columns are steps, with the infotext in the file."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, PngImagePlugin

from extension_core.diversity.lettering import Colour, blank, fitting_line, line_of_text

from .frames import FrameInfo, PhaseName

PAPER: Colour = (250, 250, 252)
INK: Colour = (30, 28, 40)
MUTED: Colour = (95, 93, 105)
# Blue and vermilion differ for every kind of colour vision, and both read on paper (contrast over 4.5 to 1).
PHASE_COLOURS: dict[PhaseName, Colour] = {"base": (0, 96, 168), "distilled": (184, 74, 0), "": MUTED}
PHASE_LETTERS: dict[PhaseName, str] = {"base": "B", "distilled": "D", "": ""}

LEAST_CELL = 128
_GAP = 8
_BAR = 7
_SMALLEST_LETTER, _LARGEST_LETTER = 12, 22


@dataclass(frozen=True, eq=False)
class Strip:
    """A section's frames with their pictures, uint8 [steps, n, h, w, 3].

    Raises:
        ValueError: there are not as many frames as pictures, or none.
    """

    frames: Sequence[FrameInfo]
    pictures: np.ndarray

    def __post_init__(self) -> None:
        if not len(self.frames) == len(self.pictures) > 0:
            raise ValueError(f"a strip of {len(self.frames)} frames cannot have {len(self.pictures)} rows of pictures")


@dataclass(frozen=True)
class _Measures:
    """Sizes in pixels: of a cell's width, of the picture in it and of the letters above it."""

    cell: int
    picture: tuple[int, int]
    letter: int

    @classmethod
    def of(cls, strip: Strip) -> _Measures:
        height, width = strip.pictures.shape[2:4]
        enlarged = max(1.0, LEAST_CELL / max(height, width))
        picture = round(width * enlarged), round(height * enlarged)
        cell = max(LEAST_CELL, picture[0])
        return cls(cell, picture, max(_SMALLEST_LETTER, min(_LARGEST_LETTER, cell // 14)))

    @property
    def line(self) -> int:
        """From one line of letters to the next."""
        return line_of_text("Bg", self.letter, INK, PAPER).height + 3

    @property
    def head(self) -> int:
        """Above the pictures: four lines and the bar."""
        return 4 * self.line + _BAR + _GAP

    def left(self, column: int) -> int:
        """Left edge of a column; before the first stands the number of the image."""
        return 2 * self.letter + _GAP + column * (self.cell + _GAP)

    def top(self, image: int) -> int:
        """Upper edge of a row."""
        return self.head + image * (self.picture[1] + _GAP)


def contact_sheet(strips: Sequence[Strip], title: str = "", columns: int = 10) -> Image.Image:
    """All strips under each other; a strip of more than `columns` steps goes on in the next line.

    Above each column stand step, timestep, CFG, sigma and model; base and distilled differ by colour, by the letter
    and by a hollow or filled bar, and a line marks where the model switched. Frames under 128 pixels are enlarged.

    Raises:
        ValueError: there are no strips or no columns.
    """
    if not strips or columns < 1:
        raise ValueError(f"a sheet of {len(strips)} strips in {columns} columns cannot be drawn: give one of each")
    drawn = [part for strip in strips for part in _strip_parts(strip, columns)]
    width = max(part.width for part in drawn)
    letter = max(_Measures.of(strip).letter for strip in strips)
    head = [
        _padded_line(words, size, width, ink)
        for words, size, ink in ((title, 18, INK), (_legend(strips), letter, MUTED))
        if words
    ]
    parts = [*head, *drawn]
    sheet = blank(width, sum(part.height + _GAP for part in parts) + _GAP, PAPER)
    y = _GAP
    for part in parts:
        sheet.paste(part, (0, y))
        y += part.height + _GAP
    return sheet


def png_of(sheet: Image.Image, infotext: str = "") -> bytes:
    """The file, with the infotext where the hosts put it: a text chunk named "parameters"."""
    chunks = PngImagePlugin.PngInfo()
    if infotext:
        chunks.add_text("parameters", infotext)
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG", pnginfo=chunks)
    return buffer.getvalue()


def header_lines(frame: FrameInfo) -> tuple[str, str, str, str]:
    """What stands above a column, from top to bottom."""
    tag, position = frame.tag, frame.tag.position
    step = f"{PHASE_LETTERS[tag.phase]} step {position.step + 1}/{position.steps}".strip()
    return (
        f"{step} switch" if frame.switched else step,
        f"t {position.timestep:.0f}  CFG {tag.cfg:g}",
        f"sigma {position.sigma:.4g}",
        tag.model,
    )


def _strip_parts(strip: Strip, columns: int) -> list[Image.Image]:
    starts = range(0, len(strip.frames), columns)
    lines = [_line_of_frames(strip, range(start, min(start + columns, len(strip.frames)))) for start in starts]
    return [_padded_line(strip.frames[0].tag.section.title, 18, lines[0].width, INK), *lines]


def _line_of_frames(strip: Strip, steps: range) -> Image.Image:
    measures, images = _Measures.of(strip), strip.pictures.shape[1]
    line = blank(measures.left(len(steps)), measures.top(images), PAPER)
    for image in range(images):
        number = line_of_text(str(image + 1), measures.letter, MUTED, PAPER)
        line.paste(number, (_GAP, measures.top(image) + (measures.picture[1] - number.height) // 2))
    for column, step in enumerate(steps):
        left = measures.left(column)
        _draw_header(line, left, strip.frames[step], measures)
        for image in range(images):
            picture = Image.fromarray(strip.pictures[step, image]).resize(measures.picture, Image.Resampling.BICUBIC)
            line.paste(picture, (left + (measures.cell - picture.width) // 2, measures.top(image)))
    return line


def _draw_header(line: Image.Image, left: int, frame: FrameInfo, measures: _Measures) -> None:
    """Labels and a bar: hollow for the base, filled for the distilled model, none where one model runs alone."""
    phase = frame.tag.phase
    colour = PHASE_COLOURS[phase]
    for row, (words, ink) in enumerate(zip(header_lines(frame), (colour, INK, INK, colour), strict=True)):
        line.paste(fitting_line(words, measures.letter, measures.cell, ink, PAPER), (left, row * measures.line))
    pen, y = ImageDraw.Draw(line), 4 * measures.line
    if phase:
        fill = colour if phase == "distilled" else PAPER
        pen.rectangle((left, y, left + measures.cell - 1, y + _BAR - 1), fill, colour, 2)
    if frame.switched:
        middle = left - _GAP // 2
        pen.line((middle, 0, middle, line.height), INK, 2)


def _legend(strips: Sequence[Strip]) -> str:
    models = {frame.tag.phase: frame.tag.model for strip in strips for frame in strip.frames}
    phases: tuple[PhaseName, ...] = ("base", "distilled")
    return "   ".join(f"{PHASE_LETTERS[phase]} = {phase}: {models[phase]}" for phase in phases if phase in models)


def _padded_line(words: str, letter: int, width: int, ink: Colour) -> Image.Image:
    """A line across the sheet, in the smallest letters where it does not fit."""
    line = line_of_text(words, letter, ink, PAPER)
    if line.width > width - 2 * _GAP:
        line = fitting_line(words, _SMALLEST_LETTER, width - 2 * _GAP, ink, PAPER)
    padded = blank(width, line.height, PAPER)
    padded.paste(line, (_GAP, 0))
    return padded
