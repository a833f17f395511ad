"""The contact sheet: rows are images, columns are steps, with the infotext in the file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from numpy.typing import NDArray
from PIL import Image, ImageDraw

from extension_core.measures.lettering import Colour, blank, fitting_line, line_of_text, wrapped

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
_SMALLEST_LETTER, _LARGEST_LETTER, _TITLE_LETTER = 12, 22, 18
_LEAST_WIDTH = 360
_LONGEST_SIDE = 16383
# How a long strip is broken: steps in a line, columns of the page, and what counts as a tower (height to width).
_STEPS_IN_A_LINE, _MOST_COLUMNS, _TALLEST = 10, 12, 2.25
_GUTTER = 24
_MOST_LINES = 8


@dataclass(frozen=True, eq=False)
class Strip:
    """A section's frames with their pictures, uint8 [steps, n, h, w, 3].

    Raises:
        ValueError: there are not as many frames as pictures, or none.
    """

    frames: Sequence[FrameInfo]
    pictures: NDArray[Any]

    def __post_init__(self) -> None:
        if not len(self.frames) == len(self.pictures) > 0:
            raise ValueError(f"a strip of {len(self.frames)} frames cannot have {len(self.pictures)} rows of pictures")


@dataclass(frozen=True)
class _Measures:
    """Sizes in pixels: of a cell's width, of the picture in it, of the letters above it and from line to line."""

    cell: int
    picture: tuple[int, int]
    letter: int
    line: int

    @classmethod
    def of(cls, strip: Strip) -> _Measures:
        height, width = strip.pictures.shape[2:4]
        enlarged = max(1.0, LEAST_CELL / max(height, width))
        picture = round(width * enlarged), round(height * enlarged)
        cell = max(LEAST_CELL, picture[0])
        letter = max(_SMALLEST_LETTER, min(_LARGEST_LETTER, cell // 14))
        return cls(cell, picture, letter, line_of_text("Bg", letter, INK, PAPER).height + 3)

    @property
    def head(self) -> int:
        """Above the pictures: four lines and the bar."""
        return 4 * self.line + _BAR + _GAP

    def left(self, column: int) -> int:
        """Left edge of a column; before the first stands the number of the image."""
        return 2 * self.letter + _GAP + column * (self.cell + _GAP)

    def top(self, row: int) -> int:
        """Upper edge of a row."""
        return self.head + row * (self.picture[1] + _GAP)


@dataclass(frozen=True)
class _Part:
    """Some steps of some images of a strip, labels included.

    Attributes:
        title: above it, "" where it goes on with what stands before.
    """

    strip: Strip
    measures: _Measures
    steps: range
    images: range
    title: str

    def with_title(self) -> _Part:
        """For the top of a column, where nothing stands before it."""
        return self if self.title else replace(self, title=f"{self.strip.frames[0].tag.section.title}, continued")

    @property
    def width(self) -> int:
        return self.measures.left(len(self.steps))

    @property
    def title_height(self) -> int:
        return line_of_text("Bg", _TITLE_LETTER, INK, PAPER).height + _GAP if self.title else 0

    @property
    def height(self) -> int:
        return self.title_height + self.measures.top(len(self.images))


@dataclass(frozen=True)
class _Layout:
    """Parts in columns of the page, each from top to bottom."""

    columns: tuple[tuple[_Part, ...], ...]

    @classmethod
    def of(cls, parts: Sequence[_Part], columns: int) -> _Layout:
        """The same order, in so many columns at most, as even as can be."""
        heights = [part.height + _GAP for part in parts]
        low, high = max(heights), sum(heights)
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if len(_filled(heights, middle)) <= columns else (middle + 1, high)
        filled = [[parts[index] for index in column] for column in _filled(heights, low)]
        return cls(tuple((column[0].with_title(), *column[1:]) for column in filled))

    @property
    def width(self) -> int:
        return sum(self.widths) + _GUTTER * (len(self.columns) - 1)

    @property
    def widths(self) -> list[int]:
        return [max(part.width for part in column) for column in self.columns]

    @property
    def height(self) -> int:
        return max(sum(part.height + _GAP for part in column) for column in self.columns)

    @property
    def handy(self) -> bool:
        """Whether it is no tower."""
        return self.height <= _TALLEST * self.width


def _filled(heights: Sequence[int], capacity: int) -> list[list[int]]:
    """Indexes in columns no higher than `capacity`."""
    columns: list[list[int]] = [[]]
    room = capacity
    for index, height in enumerate(heights):
        if height > room:
            columns.append([])
            room = capacity
        columns[-1].append(index)
        room -= height
    return columns


def contact_sheet(strips: Sequence[Strip], title: str = "", columns: int | None = None, note: str = "") -> Image.Image:
    """All strips under each other; a strip of more than `columns` steps goes on in the next line.

    Above each column stand step, timestep, CFG, sigma and model; base and distilled differ by colour, by the letter
    and by a hollow or filled bar, and a line marks where the model switched. Frames under 128 pixels are enlarged.

    No side is longer than 16383 pixels, at which WebP ends.

    Args:
        columns: None: ten, and what would make a tower goes on beside it.
        note: what the reader should know, above the strips.

    Raises:
        ValueError: there are no strips or no columns.
    """
    if not strips or (columns is not None and columns < 1):
        raise ValueError(f"a sheet of {len(strips)} strips in {columns} columns cannot be drawn: give one of each")
    layout = _handy_layout(strips) if columns is None else _Layout.of(_parts(strips, columns, None), 1)
    letter = max(_Measures.of(strip).letter for strip in strips)
    width = max(layout.width, _LEAST_WIDTH if note else 0)
    head = [
        _padded_line(words, size, width, ink)
        for words, size, ink in (
            (title, _TITLE_LETTER, INK),
            (_legend(strips), letter, MUTED),
            *((line, letter, INK) for line in wrapped(note, letter, width - 2 * _GAP)[:_MOST_LINES]),
        )
        if words
    ]
    sheet = blank(width, sum(line.height + _GAP for line in head) + layout.height + 2 * _GAP, PAPER)
    y = _GAP
    for line in head:
        sheet.paste(line, (0, y))
        y += line.height + _GAP
    _draw(sheet, layout, y + _GAP)
    if max(sheet.size) > _LONGEST_SIDE:
        sheet.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE))
    return sheet


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


def _handy_layout(strips: Sequence[Strip]) -> _Layout:
    """The first that is no tower: more columns of the page are tried first, then fewer images in one."""
    rows = max(strip.pictures.shape[1] for strip in strips)
    while True:
        parts = _parts(strips, _STEPS_IN_A_LINE, rows)
        for columns in range(1, min(_MOST_COLUMNS, len(parts)) + 1):
            layout = _Layout.of(parts, columns)
            if layout.handy:
                return layout
        if rows == 1:
            return _Layout.of(parts, _MOST_COLUMNS)
        rows = -(-rows // 2)


def _parts(strips: Sequence[Strip], steps: int, images: int | None) -> list[_Part]:
    """At most so many steps and images in each."""
    parts = []
    for strip in strips:
        count, measures, title = strip.pictures.shape[1], _Measures.of(strip), strip.frames[0].tag.section.title
        for first_image in range(0, count, images or count):
            shown = range(first_image, min(first_image + (images or count), count))
            for first in range(0, len(strip.frames), steps):
                line = range(first, min(first + steps, len(strip.frames)))
                parts.append(_Part(strip, measures, line, shown, title))
                title = ""
    return parts


def _draw(sheet: Image.Image, layout: _Layout, top: int) -> None:
    x = 0
    for column, width in zip(layout.columns, layout.widths, strict=True):
        y = top
        for part in column:
            _draw_part(sheet, part, x, y)
            y += part.height + _GAP
        x += width + _GUTTER


def _draw_part(sheet: Image.Image, part: _Part, x: int, y: int) -> None:
    measures, strip = part.measures, part.strip
    if part.title:
        sheet.paste(fitting_line(part.title, _TITLE_LETTER, part.width - 2 * _GAP, INK, PAPER), (x + _GAP, y))
        y += part.title_height
    bottom = y + measures.top(len(part.images))
    for row, image in enumerate(part.images):
        number = line_of_text(str(image + 1), measures.letter, MUTED, PAPER)
        sheet.paste(number, (x + _GAP, y + measures.top(row) + (measures.picture[1] - number.height) // 2))
    for column, step in enumerate(part.steps):
        left = x + measures.left(column)
        _draw_header(sheet, left, y, bottom, strip.frames[step], measures)
        for row, image in enumerate(part.images):
            picture = Image.fromarray(strip.pictures[step, image])
            if picture.size != measures.picture:
                picture = picture.resize(measures.picture, Image.Resampling.BICUBIC)
            sheet.paste(picture, (left + (measures.cell - picture.width) // 2, y + measures.top(row)))


def _draw_header(sheet: Image.Image, left: int, top: int, bottom: int, frame: FrameInfo, measures: _Measures) -> None:
    """Labels and a bar: hollow for the base, filled for the distilled model, none where one model runs alone."""
    phase = frame.tag.phase
    colour = PHASE_COLOURS[phase]
    for row, (words, ink) in enumerate(zip(header_lines(frame), (colour, INK, INK, colour), strict=True)):
        line = fitting_line(words, measures.letter, measures.cell, ink, PAPER)
        sheet.paste(line, (left, top + row * measures.line))
    pen, y = ImageDraw.Draw(sheet), top + 4 * measures.line
    if phase:
        fill = colour if phase == "distilled" else PAPER
        pen.rectangle((left, y, left + measures.cell - 1, y + _BAR - 1), fill, colour, 2)
    if frame.switched:
        middle = left - _GAP // 2
        pen.line((middle, top, middle, bottom), INK, 2)


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
