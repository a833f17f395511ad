"""The structure curve of a recording, over the frames there are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

import numpy as np

from extension_core.hosts.common.preview.decoders import DECODERS
from extension_core.trajectory.curve import structure_curve
from extension_core.trajectory.frame_pictures import View
from extension_core.trajectory.frames import Kind
from extension_core.trajectory.recorder import Frame
from extension_core.trajectory.store import Generation

_SIDE = 256


def curve_as_json(generation: Generation, kind: Kind, give_way: Callable[[], None]) -> dict[str, Any]:
    """Sections with their lines: for each image the distance of each frame to the section's last one.

    One image after the other, so that a large recording is never in memory at once; made of the panel's pictures.

    Args:
        give_way: called between pictures.

    Raises:
        DecodingFailed: not even approximate colours could be had.
    """
    measure = note = ""
    sections = []
    frames = [frame for frame in generation.recorder.frames() if kind in frame.info.kinds]
    for section, members in groupby(frames, key=lambda frame: frame.info.tag.section):
        strip = list(members)
        lines = []
        for image in range(strip[0].info.images):
            curve = structure_curve(
                _pictures(generation, strip, View(image, kind, _SIDE), give_way)[:, None], measure or None
            )
            measure, note = curve.measure, note or curve.note
            lines.append([round(float(distance), 5) for distance in curve.distances[0]])
        sections.append({"title": section.title, "frames": [frame.info.number for frame in strip], "lines": lines})
    return {"sections": sections, "measure": measure, "note": note}


def _pictures(generation: Generation, strip: Sequence[Frame], view: View, give_way: Callable[[], None]) -> np.ndarray:
    """uint8 [steps, h, w, 3]; where a decoder fails half-way its pictures are brought to one size."""
    pictures = []
    for frame in strip:
        give_way()
        pictures.append(DECODERS.picture(generation, frame, view).opened())
    largest = max((picture.size for picture in pictures), key=lambda size: size[0] * size[1])
    return np.stack(
        [np.asarray(picture.resize(largest) if picture.size != largest else picture) for picture in pictures]
    )
