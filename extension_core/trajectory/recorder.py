"""Recording one generation: predictions of x0 come in while it samples, readers take them whenever they like."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from threading import Lock

import torch

from extension_core.errors import first_line

from .copying import Arrival, Copier, copier_for
from .frames import KINDS, FrameInfo, Kind, Tag
from .thinning import Thinning, switches

MIB = 1 << 20


@dataclass(frozen=True)
class Limits:
    """How much a recording may hold.

    A frame of 64 images of 128 x 128 x 4 in half precision takes 8 MiB, so 50 steps of them take 400 MiB and are kept
    whole; with the conditional and unconditional predictions a frame takes 24 MiB and the newest 21 are kept.
    """

    frames: int = 512
    nbytes: int = 512 * MIB


@dataclass(frozen=True, eq=False)
class Frame:
    """A recorded frame.

    Attributes:
        lasting: whether thinning keeps it; else it goes when the section's next frame comes.
    """

    info: FrameInfo
    arrivals: Mapping[Kind, Arrival]
    lasting: bool = True

    @property
    def nbytes(self) -> int:
        """Bytes held now."""
        return sum(arrival.nbytes for arrival in self.arrivals.values())

    def latents(self, kind: Kind = "guided") -> torch.Tensor:
        """The prediction [B, C, H, W] in RAM, not to be written to; waits for its copy.

        Raises:
            KeyError: the frame has no prediction of this kind.
        """
        return self.arrivals[kind].values()

    def try_settle(self) -> bool:
        """Move what has arrived to ordinary memory; never waits. Returns whether all has."""
        return all(arrival.try_settle() for arrival in self.arrivals.values())


@dataclass(frozen=True)
class Snapshot:
    """A recording as it was at one moment.

    Attributes:
        version: another one whenever anything has changed.
        frames: those with a number of at least the cursor that was asked for.
        cursor: ask with this one to get what comes later.
        kept: numbers of all frames held.
        dropped: frames lost to the limits.
        thinned: frames left out as asked.
        missed: frames that could not be copied.
    """

    version: int
    frames: tuple[FrameInfo, ...]
    cursor: int
    kept: tuple[int, ...]
    dropped: int
    thinned: int
    missed: int


class Recorder:
    """The frames of one generation, newest last. One thread adds, any thread reads.

    Holds at most `limits.frames` frames and `limits.nbytes` bytes after each `add`: the oldest go first, and the newest
    stays even where it alone is larger. Copies under way count in the precision they are made in. Frames of at most
    `nbytes / frames` are kept exactly (3 predictions of 5 images of 512 x 512 pixels are), others are rounded to half
    precision once they have arrived (relative error 2^-11). A frame that somebody still reads lives until it is read.
    """

    def __init__(
        self,
        limits: Limits | None = None,
        thinning: Thinning | None = None,
        copier: Copier | None = None,
    ) -> None:
        self.limits = limits or Limits()
        self._thinning = thinning or Thinning()
        self._copier = copier
        self._lock = Lock()
        self._frames: dict[int, Frame] = {}
        self._under_way: list[Frame] = []
        self._previous: Tag | None = None
        self._nth = 0
        self._next = 0
        self._version = 0
        self._dropped = self._thinned = self._missed = 0
        self._why_missed = ""

    def add(
        self, tag: Tag, guided: torch.Tensor, cond: torch.Tensor | None = None, uncond: torch.Tensor | None = None
    ) -> int | None:
        """Take a step's predictions of x0, [B, C, H, W] each, and return at once, before they are copied.

        The tensors may be overwritten afterwards. What cannot be copied, for want of memory above all, is counted as
        missed: a recording never ends a generation.

        Returns:
            The frame's number, None if it was missed.
        """
        self.settle()
        try:
            arrivals = self._start(guided, cond, uncond)
        except (RuntimeError, MemoryError, ValueError) as error:
            self._miss(error)
            return None
        with self._lock:
            frame = self._framed(tag, guided.shape[0], arrivals)
            self._leave_out_the_newest(before=tag)
            self._frames[self._next] = frame
            self._next += 1
            self._previous = tag
            self._drop_the_oldest()
            self._version += 1
        self._under_way.append(frame)
        return frame.info.number

    def _start(self, *predictions: torch.Tensor | None) -> dict[Kind, Arrival]:
        given: dict[Kind, torch.Tensor] = {
            kind: tensor for kind, tensor in zip(KINDS, predictions, strict=True) if tensor is not None
        }
        shapes = {tuple(tensor.shape) for tensor in given.values()}
        if len(shapes) != 1 or len(next(iter(shapes))) != 4:
            raise ValueError(f"predictions have the shapes {sorted(shapes)} instead of one [images, channels, h, w]")
        nbytes = sum(tensor.numel() * tensor.element_size() for tensor in given.values())
        exact = nbytes <= self.limits.nbytes / self.limits.frames
        return {
            kind: Arrival(tensor, self._copier or copier_for(tensor.device), tensor.dtype if exact else torch.float16)
            for kind, tensor in given.items()
        }

    def _framed(self, tag: Tag, images: int, arrivals: Mapping[Kind, Arrival]) -> Frame:
        within = self._previous if self._previous and self._previous.section == tag.section else None
        self._nth = self._nth + 1 if within else 0
        info = FrameInfo(self._next, tag, images, tuple(arrivals), switches(tag, within))
        return Frame(info, arrivals, self._thinning.keeps(self._nth, tag, within))

    def _leave_out_the_newest(self, before: Tag) -> None:
        """The newest frame was kept as perhaps its section's last; it is not if the section goes on."""
        newest = self._frames.get(self._next - 1)
        if newest and not newest.lasting and newest.info.tag.section == before.section:
            del self._frames[newest.info.number]
            self._thinned += 1

    def _drop_the_oldest(self) -> None:
        sizes = {number: frame.nbytes for number, frame in self._frames.items()}
        held = sum(sizes.values())
        while len(self._frames) > 1 and (len(self._frames) > self.limits.frames or held > self.limits.nbytes):
            oldest = next(iter(self._frames))
            del self._frames[oldest]
            held -= sizes[oldest]
            self._dropped += 1

    def settle(self) -> None:
        """Move what has arrived to ordinary memory; never waits. For the thread that adds."""
        self._under_way = [
            frame for frame in self._under_way if frame.info.number in self._frames and not frame.try_settle()
        ]

    def _miss(self, error: BaseException) -> None:
        with self._lock:
            self._missed += 1
            self._why_missed = first_line(error)
            self._version += 1

    @property
    def version(self) -> int:
        """Grows with every change."""
        return self._version

    @property
    def nbytes(self) -> int:
        """Bytes held now."""
        with self._lock:
            return sum(frame.nbytes for frame in self._frames.values())

    def frames(self) -> tuple[Frame, ...]:
        """All frames held, oldest first."""
        with self._lock:
            return tuple(self._frames.values())

    def frame(self, number: int) -> Frame | None:
        """The frame of this number, None where there is none (any more)."""
        with self._lock:
            return self._frames.get(number)

    def snapshot(self, since: int = 0) -> Snapshot:
        """What is there now, with those frames whose number is at least `since`."""
        with self._lock:
            return Snapshot(
                version=self._version,
                frames=tuple(frame.info for number, frame in self._frames.items() if number >= since),
                cursor=self._next,
                kept=tuple(self._frames),
                dropped=self._dropped,
                thinned=self._thinned,
                missed=self._missed,
            )

    def missing(self) -> str:
        """What is missing that was asked for, in sentences; "" if nothing."""
        with self._lock:
            sentences: list[str] = []
            if self._dropped:
                limit = f"{self.limits.frames} frames and {self.limits.nbytes / MIB:.0f} MiB"
                sentences.append(f"The oldest {_frames(self._dropped)} dropped, as at most {limit} are kept.")
            if self._missed:
                sentences.append(f"{_frames(self._missed)} not recorded: {self._why_missed}.")
            return " ".join(sentences)


def _frames(count: int) -> str:
    return f"{count} frame was" if count == 1 else f"{count} frames were"
