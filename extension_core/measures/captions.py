"""Words below a picture, and words in the place of one."""

from __future__ import annotations

from PIL import Image

from .lettering import Colour, blank, fitting_line, line_of_text, wrapped

_PAPER, _INK = (250, 250, 252), (30, 28, 40)
_CARD, _CARD_INK = (38, 36, 48), (236, 234, 244)
_SMALLEST = 11


def captioned(picture: Image.Image, words: str) -> Image.Image:
    """The picture with a line of words below it, RGB; what else it carries (`info`) stays."""
    height = max(2 * _SMALLEST, picture.height // 10)
    line = _fitting(words, height * 6 // 10, picture.width - 4)
    sheet = blank(picture.width, picture.height + height, _PAPER)
    sheet.paste(picture.convert("RGB"), (0, 0))
    sheet.paste(line, ((sheet.width - line.width) // 2, picture.height + (height - line.height) // 2))
    sheet.info = dict(picture.info)
    return sheet


def _fitting(words: str, letter: int, width: int) -> Image.Image:
    """The line in letters that fit, cut where even the smallest do not."""
    while letter > _SMALLEST:
        line = line_of_text(words, letter, _INK, _PAPER)
        if line.width <= width:
            return line
        letter = max(_SMALLEST, letter * 9 // 10)
    return fitting_line(words, _SMALLEST, width, _INK, _PAPER)


def card(words: str, width: int, height: int) -> Image.Image:
    """A picture of these words alone, RGB; of long ones on a small picture the first."""
    picture, margin = blank(width, height, _CARD), max(3, width // 32)
    letter = max(_SMALLEST, min(width, height) // 16)
    lines: list[Image.Image] = []
    while True:
        texts = wrapped(words, letter, width - 2 * margin)
        lines = [_line(text, letter, width - 2 * margin) for text in texts]
        if letter == _SMALLEST or sum(line.height + 3 for line in lines) <= height - 2 * margin:
            break
        letter = max(_SMALLEST, letter * 9 // 10)
    top = margin
    for line in lines:
        picture.paste(line, (margin, top))
        top += line.height + 3
    return picture


def _line(words: str, letter: int, width: int) -> Image.Image:
    ink: Colour = _CARD_INK
    return fitting_line(words, letter, width, ink, _CARD)
