"""A recording as strips of pictures, as many and as large as memory allows, with a sentence on what is not there."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from extension_core.trajectory.animation import animated_webp
from extension_core.trajectory.frame_pictures import PANEL_SIDE, Decoder, DecodingFailed
from extension_core.trajectory.frames import Section
from extension_core.trajectory.recorder import MIB, Frame
from extension_core.trajectory.sheet import Strip, contact_sheet
from extension_core.trajectory.store import Generation

# 64 images of 50 steps are 3200 pictures: all are shown, at 128 pixels. With the sheet, which takes as much RAM again,
# and the pictures kept, both files of a recording are made within 512 MiB (391 MiB measured for those 3200).
PICTURES_NBYTES = 192 * MIB
_SIDES = (PANEL_SIDE, 192, 128)


@dataclass(frozen=True, eq=False)
class Strips:
    """Strips in the order in which they were made.

    Attributes:
        unrecorded: what the recording lacks and why, in sentences.
        unshown: what is recorded but not shown here, and why.
    """

    strips: tuple[Strip, ...]
    unrecorded: str
    unshown: str

    @property
    def missing(self) -> str:
        """Both."""
        return " ".join(sentence for sentence in (self.unrecorded, self.unshown) if sentence)

    def sheet(self, title: str) -> Image.Image:
        """The contact sheet, which says what is missing."""
        return contact_sheet(self.strips, title, note=self.missing)

    def animation(self, exif: bytes = b"") -> bytes:
        """The animated WebP."""
        return animated_webp(self.strips, exif=exif)


def strips_of(generation: Generation, decoder: Decoder) -> Strips:
    """What is kept of a generation, after guidance. No strips if there is no frame, or none that can be decoded."""
    frames = generation.recorder.frames()
    notes: list[str] = []
    unrecorded = generation.update().missing
    if not frames:
        return Strips((), unrecorded, "No frame was recorded.")
    shown = _thinned(frames)
    if len(shown) < len(frames):
        notes.append(f"{len(shown)} of {len(frames)} frames are shown, as {_count(frames)} pictures are too many.")
    side = next((side for side in _SIDES if _count(shown) * side * side * 3 <= PICTURES_NBYTES), _SIDES[-1])
    strips, failed = [], ""
    for _, together in itertools.groupby(shown, _shape):
        section = list(together)
        strip, sentence = _decoded(generation, section, decoder, side)
        strips.append(strip)
        failed = failed or sentence
    undecoded = len(shown) - sum(len(strip.frames) for strip in strips if strip)
    if undecoded:
        notes.append(f"{undecoded} of {len(shown)} frames are not shown: {failed}")
    return Strips(tuple(strip for strip in strips if strip), unrecorded, " ".join(notes))


def _decoded(generation: Generation, frames: Sequence[Frame], decoder: Decoder, side: int) -> tuple[Strip | None, str]:
    """One frame after the other into one piece of memory: those that cannot be decoded are left out."""
    kept: list[Frame] = []
    pictures = np.empty(0)
    failed = ""
    for frame in frames:
        try:
            [row] = generation.pictures.pixels((frame,), decoder, side=side)
        except DecodingFailed as error:
            failed = failed or str(error)
            continue
        if not kept:
            pictures = np.empty((len(frames), *row.shape), np.uint8)
        pictures[len(kept)] = row
        kept.append(frame)
    return (Strip([frame.info for frame in kept], pictures[: len(kept)]) if kept else None), failed


def _shape(frame: Frame) -> tuple[Section, int]:
    return frame.info.tag.section, frame.info.images


def _count(frames: Sequence[Frame]) -> int:
    return sum(frame.info.images for frame in frames)


def _thinned(frames: Sequence[Frame]) -> Sequence[Frame]:
    """Every n-th frame, where all are too many at the smallest size; firsts, switches and lasts of sections stay."""
    most = PICTURES_NBYTES // (_SIDES[-1] ** 2 * 3)
    ends = {frames[0].info.number, frames[-1].info.number}
    for before, after in itertools.pairwise(frames):
        if _shape(before) != _shape(after):
            ends |= {before.info.number, after.info.number}
    shown, every = frames, 1
    while _count(shown) > most and every < len(frames):
        every += 1
        shown = [
            frame
            for nth, frame in enumerate(frames)
            if nth % every == 0 or frame.info.switched or frame.info.number in ends
        ]
    return shown
