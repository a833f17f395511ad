"""The frames as one moving picture."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from extension_core.measures.lettering import blank

from .sheet import LEAST_CELL, PAPER, Strip

# In pixels. A WebP file ends at 16383; large ones are slow to make, 0.1 s for a frame of 1024 x 1024.
_LONGEST_SIDE, _SHORTEST_LIMIT = 1536, 512
_PIXELS_OF_ALL_FRAMES = 48_000_000
_GAP = 4


def animated_webp(
    strips: Sequence[Strip], frame_ms: int = 400, last_ms: int = 2000, loop: int = 0, exif: bytes = b""
) -> bytes:
    """All images side by side, in a grid as square as can be, each from noise to image, as an animated WebP.

    Batches are shown at the same time, the passes of a batch one after the other, enlarged to the largest. An image
    that is ready waits for the others.

    Args:
        frame_ms: how long a frame is shown; the last one is shown for `last_ms`.
        loop: how many times it is played, 0 for ever.
        exif: put into the file as it is.

    Raises:
        ValueError: there are no strips.
    """
    if not strips:
        raise ValueError("an animation needs at least one strip")
    sequences = _sequences(strips)
    length = max(map(len, sequences))
    columns = int(np.ceil(np.sqrt(len(sequences))))
    cell = _cell(sequences, columns, length)

    def frame(step: int) -> Image.Image:
        return _grid([sequence[min(step, len(sequence) - 1)] for sequence in sequences], columns, cell)

    buffer = io.BytesIO()
    _played(frame, length).save(
        buffer,
        "WEBP",
        save_all=True,
        duration=[*[frame_ms] * (length - 1), last_ms],
        loop=loop,
        quality=85,
        **({"exif": exif} if exif else {}),
    )
    return buffer.getvalue()


def _played(frame: Callable[[int], Image.Image], length: int) -> Image.Image:
    """A picture that Pillow takes for a sequence, so that one frame at a time is in RAM: 50 of them take 350 MB."""
    canvas = frame(0)

    def seek(step: int) -> None:
        canvas.paste(frame(step))

    canvas.__dict__.update(n_frames=length, seek=seek)
    return canvas


def _sequences(strips: Sequence[Strip]) -> list[list[NDArray[Any]]]:
    """For each image of each batch its pictures uint8 [h, w, 3], in order of passes."""
    batches: dict[int, list[list[NDArray[Any]]]] = {}
    for strip in strips:
        images = batches.setdefault(strip.frames[0].tag.section.batch, [])
        for image in range(strip.pictures.shape[1]):
            if image == len(images):
                images.append([])
            images[image].extend(strip.pictures[:, image])
    return [sequence for images in batches.values() for sequence in images]


def _cell(sequences: Sequence[Sequence[NDArray[Any]]], columns: int, length: int) -> tuple[int, int]:
    """Width and height of an image in the grid, so small that the grid keeps within its longest side."""
    height, width = (max(picture.shape[axis] for pictures in sequences for picture in pictures) for axis in (0, 1))
    enlarged = max(1.0, LEAST_CELL / max(height, width))
    height, width = round(height * enlarged), round(width * enlarged)
    rows = -(-len(sequences) // columns)
    side = min(_LONGEST_SIDE, max(_SHORTEST_LIMIT, math.isqrt(_PIXELS_OF_ALL_FRAMES // length)))
    shrunk = min(1.0, side / (columns * (width + _GAP)), side / (rows * (height + _GAP)))
    return max(1, int(width * shrunk) - (shrunk < 1) * _GAP), max(1, int(height * shrunk) - (shrunk < 1) * _GAP)


def _grid(pictures: Sequence[NDArray[Any]], columns: int, cell: tuple[int, int]) -> Image.Image:
    width, height = cell
    rows = -(-len(pictures) // columns)
    grid = blank(columns * (width + _GAP) - _GAP, rows * (height + _GAP) - _GAP, PAPER)
    for index, picture in enumerate(pictures):
        fitted = ImageOps.pad(Image.fromarray(picture), cell, Image.Resampling.BICUBIC, PAPER)
        grid.paste(fitted, ((index % columns) * (width + _GAP), (index // columns) * (height + _GAP)))
    return grid
