"""The frames as one moving picture."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageOps

from extension_core.diversity.lettering import blank

from .sheet import PAPER, Strip

# In pixels; Pillow wants all frames in RAM at once, 50 of this size take 350 MB. A WebP file ends at 16383.
_LONGEST_SIDE = 1536
_GAP = 4


def animated_webp(strips: Sequence[Strip], frame_ms: int = 400, last_ms: int = 2000, loop: int = 0) -> bytes:
    """All images side by side, in a grid as square as can be, each from noise to image, as an animated WebP.

    Batches are shown at the same time, the passes of a batch one after the other, enlarged to the largest. An image
    that is ready waits for the others.

    Args:
        frame_ms: how long a frame is shown; the last one is shown for `last_ms`.
        loop: how many times it is played, 0 for ever.

    Raises:
        ValueError: there are no strips.
    """
    if not strips:
        raise ValueError("an animation needs at least one strip")
    sequences = _sequences(strips)
    length = max(map(len, sequences))
    columns = int(np.ceil(np.sqrt(len(sequences))))
    cell = _cell(sequences, columns)
    frames = [
        _grid([sequence[min(step, len(sequence) - 1)] for sequence in sequences], columns, cell)
        for step in range(length)
    ]
    buffer = io.BytesIO()
    frames[0].save(
        buffer,
        "WEBP",
        save_all=True,
        append_images=frames[1:],
        duration=[*[frame_ms] * (length - 1), last_ms],
        loop=loop,
        quality=85,
    )
    return buffer.getvalue()


def _sequences(strips: Sequence[Strip]) -> list[list[np.ndarray]]:
    """For each image of each batch its pictures uint8 [h, w, 3], in order of passes."""
    batches: dict[int, list[list[np.ndarray]]] = {}
    for strip in strips:
        images = batches.setdefault(strip.frames[0].tag.section.batch, [[] for _ in range(strip.pictures.shape[1])])
        for image, sequence in enumerate(images):
            sequence.extend(strip.pictures[:, image])
    return [sequence for images in batches.values() for sequence in images]


def _cell(sequences: Sequence[Sequence[np.ndarray]], columns: int) -> tuple[int, int]:
    """Width and height of an image in the grid, so small that the grid keeps within its longest side."""
    height, width = (max(picture.shape[axis] for pictures in sequences for picture in pictures) for axis in (0, 1))
    rows = -(-len(sequences) // columns)
    shrunk = min(1.0, _LONGEST_SIDE / (columns * (width + _GAP)), _LONGEST_SIDE / (rows * (height + _GAP)))
    return max(1, int(width * shrunk) - (shrunk < 1) * _GAP), max(1, int(height * shrunk) - (shrunk < 1) * _GAP)


def _grid(pictures: Sequence[np.ndarray], columns: int, cell: tuple[int, int]) -> Image.Image:
    width, height = cell
    rows = -(-len(pictures) // columns)
    grid = blank(columns * (width + _GAP) - _GAP, rows * (height + _GAP) - _GAP, PAPER)
    for index, picture in enumerate(pictures):
        fitted = ImageOps.pad(Image.fromarray(picture), cell, Image.Resampling.BICUBIC, PAPER)
        grid.paste(fitted, ((index % columns) * (width + _GAP), (index // columns) * (height + _GAP)))
    return grid
