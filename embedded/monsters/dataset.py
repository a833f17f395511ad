"""Drawn, captioned monsters in quantity."""

from __future__ import annotations

import numpy as np

from .attributes import ATTRIBUTES, sample_attributes
from .captions import caption
from .drawing import draw


def make_dataset(n: int, seed: int, size: int = 128) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Draw n monsters, deterministic in `seed`.

    Returns images uint8 [n, size, size, 3], attribute indices int64 [n, 9] in the order of ATTRIBUTES, captions [n].
    """
    if n < 0:
        raise ValueError(f"the number of images is {n}, but must be 0 or more")
    rng = np.random.default_rng(seed)
    images = np.empty((n, size, size, 3), np.uint8)
    indices = np.empty((n, len(ATTRIBUTES)), np.int64)
    captions: list[str] = []
    for row in range(n):
        attributes = sample_attributes(rng)
        images[row] = draw(attributes, rng, size)
        indices[row] = attributes.as_array()
        captions.append(caption(attributes, rng))
    return images, indices, captions
