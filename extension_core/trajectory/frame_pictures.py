"""Pictures of frames: decoded when somebody looks at them, once, and kept encoded."""

from __future__ import annotations

import io
import logging
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from threading import Lock
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from extension_core.errors import DiversityError, reason

from .etags import etag_of
from .frames import Kind
from .recorder import MIB, Frame

_LOG = logging.getLogger("diversity_distillation")
Form = Literal["jpeg", "webp"]

PANEL_SIDE = 256
# Few, so that nobody can have one frame decoded at a thousand sizes.
SIDES = (128, PANEL_SIDE, 512, 1024)

_QUALITY = 92
_ATTEMPTS = 3
_REST_SECONDS = 5.0


class NotRecorded(DiversityError):
    """A picture of something that the frame does not hold."""


class DecodingFailed(DiversityError):
    """A decoder could not make a picture."""


class Decoder:
    """Makes a picture of a latent.

    Works for one caller at a time: decoders share the accelerator's memory with the generation that runs.

    Args:
        name: tells decoders apart, in what is kept and in what is said.
        decode: [C, H, W] in RAM, not to be written to, to a picture. What it raises becomes `DecodingFailed`.
    """

    def __init__(self, name: str, decode: Callable[[torch.Tensor], Image.Image]) -> None:
        self.name = name
        self._decode = decode
        self._turn = Lock()

    def __call__(self, latent: torch.Tensor) -> Image.Image:
        with self._turn:
            return self._decode(latent)


@dataclass(frozen=True)
class View:
    """What is asked of a frame.

    Attributes:
        image: which of the frame's images, from 0.
        side: the longest side in pixels, at which it is sent as `form`; None: as large as it is, as PNG. Pictures are
            never enlarged.
        form: of small pictures.

    Raises:
        DiversityError: `side` is not one of `SIDES`, or `form` is another.
    """

    image: int
    kind: Kind = "guided"
    side: int | None = PANEL_SIDE
    form: Form = "jpeg"

    def __post_init__(self) -> None:
        if self.side is not None and self.side not in SIDES:
            offered = ", ".join(map(str, SIDES))
            raise DiversityError(f"There are no pictures of {self.side} pixels, only of {offered}, and of full size.")
        if self.form not in get_args(Form):
            raise DiversityError(f"Pictures come as {' or '.join(get_args(Form))}, not as {self.form!r}.")


@dataclass(frozen=True)
class Picture:
    """An encoded picture, as a route sends it."""

    content: bytes
    media_type: str
    etag: str

    def opened(self) -> Image.Image:
        """Its pixels, RGB."""
        return Image.open(io.BytesIO(self.content)).convert("RGB")


Key = tuple[int, str, View]


@dataclass(frozen=True)
class _Failure:
    attempts: int
    sentence: str


class Pictures:
    """The pictures of one generation.

    Each is decoded once however many ask at the same time, and again only if it had to make room since: the encoded
    pictures take at most `nbytes`, those not looked at for longest go first, and one larger than that is not kept.

    A decoder that fails rests for 5 seconds, in which its pictures are refused with the same sentence, and no picture
    is tried more than three times.
    """

    def __init__(self, nbytes: int = 64 * MIB, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = nbytes
        self._clock = clock
        self._lock = Lock()
        self._kept: OrderedDict[Key, Picture] = OrderedDict()
        self._held = 0
        self._under_way: dict[Key, Future[Picture]] = {}
        self._failures: dict[Key, _Failure] = {}
        self._resting: dict[str, tuple[float, str]] = {}

    @property
    def nbytes(self) -> int:
        """Bytes of the pictures kept."""
        return self._held

    def kept(self, frame: Frame, view: View, name: str) -> Picture | None:
        """The picture if the decoder of this name has made it and it is kept; never waits."""
        key = (frame.info.number, name, view)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def get(self, frame: Frame, view: View, decoder: Decoder) -> Picture:
        """The picture; waits for whoever is making it already.

        Raises:
            NotRecorded: the frame has no such image or prediction.
            DecodingFailed: the decoder failed, just now or lately.
        """
        check(frame, view)
        key = (frame.info.number, decoder.name, view)
        mine: Future[Picture] = Future()
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
            if key not in self._under_way:
                self._refuse_what_failed(key)
            first = self._under_way.setdefault(key, mine)
        return self._make(key, mine, frame, decoder) if first is mine else first.result()

    def pixels(
        self, frames: Sequence[Frame], decoder: Decoder, kind: Kind = "guided", side: int = PANEL_SIDE
    ) -> NDArray[Any]:
        """A section's frames: uint8 [steps, n, h, w, 3], `side` pixels on the longest side or fewer.

        Made of the panel's pictures, so what somebody looked at is not decoded again.

        Raises:
            NotRecorded, DecodingFailed: as `get`.
            ValueError: there are no frames, or they differ in number or size of images.
        """
        rows = [
            [self._small(frame, View(image, kind, max(side, PANEL_SIDE)), decoder, side) for image in _images(frame)]
            for frame in frames
        ]
        if not rows or len({picture.shape for row in rows for picture in row}) != 1 or len({*map(len, rows)}) != 1:
            raise ValueError(f"{len(rows)} frames do not make a section: give at least one, all with the same images")
        return np.stack([np.stack(row) for row in rows])

    def _small(self, frame: Frame, view: View, decoder: Decoder, side: int) -> NDArray[Any]:
        return np.asarray(_reduced(self.get(frame, view, decoder).opened(), side))

    def _refuse_what_failed(self, key: Key) -> None:
        failure = self._failures.get(key)
        if failure is not None and failure.attempts >= _ATTEMPTS:
            raise DecodingFailed(failure.sentence)
        until, sentence = self._resting.get(key[1], (-math.inf, ""))
        if self._clock() < until:
            raise DecodingFailed(sentence)

    def _make(self, key: Key, made: Future[Picture], frame: Frame, decoder: Decoder) -> Picture:
        view = key[2]
        try:
            picture = _encoded(decoder(frame.latents(view.kind)[view.image]), view)
        except Exception as cause:  # a decoder is the host's or another extension's
            sentence = (
                f"{decoder.name} could not decode frame {frame.info.number} ({reason(cause)}); "
                "the generation goes on, choose another decoder to see the frame."
            )
            _LOG.warning("%s", sentence, exc_info=cause)
            self._failed(key, made, sentence)
            raise DecodingFailed(sentence) from cause
        except BaseException:
            self._failed(key, made, f"Decoding frame {frame.info.number} was stopped; ask again.")
            raise
        with self._lock:
            del self._under_way[key]
            self._failures.pop(key, None)
            self._keep(key, picture)
        made.set_result(picture)
        return picture

    def _failed(self, key: Key, made: Future[Picture], sentence: str) -> None:
        """Keeps the sentence, not the error: an error holds on to the decoder's tensors."""
        with self._lock:
            del self._under_way[key]
            before = self._failures.get(key)
            self._failures[key] = _Failure(before.attempts + 1 if before else 1, sentence)
            self._resting[key[1]] = (self._clock() + _REST_SECONDS, sentence)
        made.set_exception(DecodingFailed(sentence))

    def _keep(self, key: Key, picture: Picture) -> None:
        if len(picture.content) > self._limit:
            return
        self._kept[key] = picture
        self._held += len(picture.content)
        while self._held > self._limit:
            _, oldest = self._kept.popitem(last=False)
            self._held -= len(oldest.content)


def check(frame: Frame, view: View) -> None:
    """Refuse what the frame does not hold.

    Raises:
        NotRecorded: it has no such image or prediction.
    """
    info = frame.info
    if not 0 <= view.image < info.images:
        raise NotRecorded(f"Frame {info.number} shows images 0 to {info.images - 1}; there is no image {view.image}.")
    if view.kind not in info.kinds:
        raise NotRecorded(f"Frame {info.number} has no {view.kind!r} prediction, only {', '.join(info.kinds)}.")


def _encoded(picture: Image.Image, view: View) -> Picture:
    picture = picture.convert("RGB")
    buffer = io.BytesIO()
    if view.side is None:
        picture.save(buffer, "PNG", compress_level=4)
    else:
        whole_colour = {"subsampling": 0} if view.form == "jpeg" else {}
        _reduced(picture, view.side).save(buffer, view.form.upper(), quality=_QUALITY, **whole_colour)
    content = buffer.getvalue()
    return Picture(content, f"image/{'png' if view.side is None else view.form}", etag_of(content))


def _reduced(picture: Image.Image, side: int) -> Image.Image:
    longest = max(picture.size)
    if longest <= side:
        return picture
    width, height = (max(1, round(length * side / longest)) for length in picture.size)
    return picture.resize((width, height), Image.Resampling.LANCZOS)


def _images(frame: Frame) -> range:
    return range(frame.info.images)
