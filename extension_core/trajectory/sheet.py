"""The contact sheet: rows are images, columns are steps, with the infotext in the file."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, PngImagePlugin

from extension_core.diversity.lettering import Colour, blank, fitting_line

from .frames import FrameInfo, PhaseName, Tag

PAPER: Colour = (250, 250, 252)
INK: Colour = (30, 28, 40)
MUTED: Colour = (95, 93, 105)
# Blue and vermilion differ for every kind of colour vision, and both read on paper (contrast over 4.5 to 1).
PHASE_COLOURS: dict[PhaseName, Colour] = {"base": (0, 96, 168), "distilled": (184, 74, 0), "": MUTED}
PHASE_LETTERS: dict[PhaseName, str] = {"base": "B", "distilled": "D", "": ""}

LEAST_CELL = 128
_GAP = 6
_BAR = 6


@dataclass(frozen=True)
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
    """Sizes in pixels: of a cell and of its letters."""

    width: int
    height: int
    letter: int

    @property
    def gutter(self) -> int:
        """Left of the frames, for the number of the image."""
        return 4 * self.letter

    def left(self, column: int) -> int:
        return self.gutter + _GAP + column * (self.width + _GAP)


def contact_sheet(strips: Sequence[Strip], title: str = "", columns: int = 10) -> Image.Image:
    """All strips under each other; a strip of more than `columns` steps goes on in the next line.

    Above each column stand step, timestep, sigma, CFG and model; base and distilled differ by colour, by the letter
    and by a hollow or filled bar, and a line marks where the model switched. Frames under 128 pixels are enlarged.

    Raises:
        ValueError: there are no strips or no columns.
    """
    if not strips or columns < 1:
        raise ValueError(f"a sheet of {len(strips)} strips in {columns} columns cannot be drawn: give one of each")
    parts = [part for strip in strips for part in _strip_parts(strip, columns)]
    width = max(part.width for part in parts)
    if title:
        parts.insert(0, _padded_line(title, 16, width))
    parts.insert(1 if title else 0, _legend(strips, width))
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


def _strip_parts(strip: Strip, columns: int) -> list[Image.Image]:
    height, width = strip.pictures.shape[2:4]
    enlarged = max(1.0, LEAST_CELL / max(height, width))
    size = round(width * enlarged), round(height * enlarged)
    cell = max(LEAST_CELL, size[0])
    measures = _Measures(cell, size[1], max(11, min(22, cell // 14)))
    lines = [
        _line_of_frames(strip, range(start, min(start + columns, len(strip.frames))), size, measures)
        for start in range(0, len(strip.frames), columns)
    ]
    return [_padded_line(strip.frames[0].tag.section.title, 14, lines[0].width), *lines]


def _line_of_frames(strip: Strip, steps: range, size: tuple[int, int], measures: _Measures) -> Image.Image:
    headers = [_header(strip.frames[step], measures) for step in steps]
    head = headers[0].height + _GAP
    images = strip.pictures.shape[1]
    foot = head + images * (measures.height + _GAP)
    line = blank(measures.left(len(steps)) + _GAP, foot, PAPER)
    pen = ImageDraw.Draw(line)
    for image in range(images):
        number = fitting_line(str(image + 1), measures.letter, measures.gutter, MUTED, PAPER)
        line.paste(number, (_GAP, head + image * (measures.height + _GAP) + (measures.height - number.height) // 2))
    for column, step in enumerate(steps):
        left = measures.left(column)
        line.paste(headers[column], (left, 0))
        for image in range(images):
            picture = Image.fromarray(strip.pictures[step, image]).resize(size, Image.Resampling.BICUBIC)
            line.paste(picture, (left + (measures.width - size[0]) // 2, head + image * (measures.height + _GAP)))
        if strip.frames[step].switched:
            middle = left - _GAP // 2
            pen.line((middle, 0, middle, foot), INK, 2)
    return line


def _header(frame: FrameInfo, measures: _Measures) -> Image.Image:
    tag = frame.tag
    colour = PHASE_COLOURS[tag.phase]
    lines = [
        fitting_line(words, measures.letter, measures.width, ink, PAPER)
        for words, ink in zip(header_lines(frame), (colour, INK, INK, colour), strict=True)
    ]
    header = blank(measures.width, sum(line.height for line in lines) + _BAR + 4, PAPER)
    y = 0
    for line in lines:
        header.paste(line, (0, y))
        y += line.height
    _phase_bar(ImageDraw.Draw(header), tag, y + 2, measures.width)
    return header


def header_lines(frame: FrameInfo) -> tuple[str, str, str, str]:
    """What stands above a column, from top to bottom."""
    tag, position = frame.tag, frame.tag.position
    letter = PHASE_LETTERS[tag.phase]
    step = f"{letter} step {position.step + 1}/{position.steps}".strip()
    return (
        f"{step} switch" if frame.switched else step,
        f"t {position.timestep:.0f}  CFG {tag.cfg:g}",
        f"sigma {position.sigma:.4g}",
        tag.model,
    )


def _phase_bar(pen: ImageDraw.ImageDraw, tag: Tag, y: int, width: int) -> None:
    """Hollow for the base, filled for the distilled model, none where there is one model alone."""
    if tag.phase:
        colour = PHASE_COLOURS[tag.phase]
        fill = colour if tag.phase == "distilled" else PAPER
        pen.rectangle((0, y, width - 1, y + _BAR - 1), fill, colour, 2)


def _legend(strips: Sequence[Strip], width: int) -> Image.Image:
    models = {frame.tag.phase: frame.tag.model for strip in strips for frame in strip.frames}
    words = [f"{PHASE_LETTERS[phase]} = {phase}: {models[phase]}" for phase in ("base", "distilled") if phase in models]
    return _padded_line("   ".join([*words, "rows are images, columns are steps"]), 11, width, MUTED)


def _padded_line(words: str, letter: int, width: int, ink: Colour = INK) -> Image.Image:
    line = fitting_line(words, letter, width - 2 * _GAP, ink, PAPER)
    padded = blank(width, line.height, PAPER)
    padded.paste(line, (_GAP, 0))
    return padded
