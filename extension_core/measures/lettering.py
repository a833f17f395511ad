"""Lines of text in Pillow's own font, which is there on every machine."""

from __future__ import annotations

import inspect

from PIL import Image, ImageDraw, ImageFont

Colour = tuple[int, int, int]

_SIZABLE = "size" in inspect.signature(ImageFont.load_default).parameters
_BITMAP_HEIGHT = 11


def blank(width: int, height: int, colour: Colour) -> Image.Image:
    """A picture of one colour."""
    picture = Image.new("RGB", (width, height))
    picture.paste(colour, (0, 0, width, height))
    return picture


def line_of_text(words: str, height: int, ink: Colour, paper: Colour) -> Image.Image:
    """One line about `height` pixels high; Pillow before 10.1 has one bitmap size only, which is enlarged.

    What is not in Latin-1 becomes "?", which is all that the bitmap font has; ends of lines become spaces.
    """
    font = ImageFont.load_default(height) if _SIZABLE else ImageFont.load_default()
    words = "".join(letter if letter.isprintable() else " " for letter in words)
    words = words.encode("latin-1", "replace").decode("latin-1")
    left, top, right, bottom = font.getbbox(words or " ")
    line = blank(int(right - left) + 2, int(bottom - top) + 2, paper)
    ImageDraw.Draw(line).text((1 - left, 1 - top), words, fill=ink, font=font)
    times = 1 if _SIZABLE else max(1, round(height / _BITMAP_HEIGHT))
    return line.resize((line.width * times, line.height * times), Image.Resampling.NEAREST)


def fitting_line(words: str, height: int, width: int, ink: Colour, paper: Colour) -> Image.Image:
    """A line at most `width` pixels wide; what is too long ends in two full stops."""
    line = line_of_text(words, height, ink, paper)
    kept = len(words)
    while line.width > width and kept > 0:
        kept = min(kept - 1, kept * width // line.width)
        line = line_of_text(words[:kept].rstrip() + "..", height, ink, paper)
    return line


def wrapped(words: str, height: int, width: int) -> list[str]:
    """The words in lines at most `width` pixels wide; a word that is wider has a line of its own."""
    ink = (0, 0, 0)
    lines: list[str] = []
    for word in words.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and line_of_text(longer, height, ink, ink).width <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines
