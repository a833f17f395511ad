"""What the host's side remembers of a recorded generation, for whoever looks at it later."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from types import SimpleNamespace
from typing import Literal

from extension_core.trajectory.frame_pictures import Decoder
from extension_core.trajectory.store import Generation, Store

Role = Literal["", "hybrid", "base", "distilled"]

# Process-wide on purpose: pages ask for frames while and after a request runs. Each is found by its own secret alone.
STORE = Store()


class StopRequest:
    """Somebody's wish to end a generation with one of its frames; set by a route, seen by the thread that samples."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._number: int | None = None
        self._asked = False

    @property
    def asked(self) -> bool:
        """Whether somebody has asked."""
        return self._asked

    @property
    def number(self) -> int | None:
        """The frame that is to be the image, None for the newest."""
        return self._number

    def ask(self, number: int | None) -> None:
        """End the generation with this frame; the first wish stands."""
        with self._lock:
            if not self._asked:
                self._number, self._asked = number, True


@dataclass(frozen=True)
class Place:
    """What the host needs to name a file of a generation, when the request itself is gone.

    Attributes:
        folder: where the host writes the request's images.
        infotext: of its first image.
        request: what the host's file name patterns ask of a request, and nothing else of it.
        decoder: which made the pictures while it ran.
    """

    folder: str
    seed: int
    prompt: str
    infotext: str
    request: SimpleNamespace
    decoder: Decoder


class Files:
    """What was written of a generation. Whoever writes holds the lock."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.sheet: Path | None = None
        self.animation: Path | None = None

    @property
    def names(self) -> list[str]:
        """Without folders."""
        return [path.name for path in (self.sheet, self.animation) if path is not None]

    @property
    def complete(self) -> bool:
        """Whether there is nothing left to write."""
        return self.sheet is not None and self.animation is not None


@dataclass
class Recorded:
    """What is known of a generation beside its frames (`Generation.about`).

    Attributes:
        latents: the kind of its latents: "sd", "sdxl", "sd3" or "flux".
        vae: what the host decodes with while it runs, to be compared with what it has when somebody looks.
        is_api: whether it was asked for over the API.
        group: the same for generations that are to be compared, "" for others.
        role: which of them this is.
        compared: ids of those that it is compared with, by their roles; with the hybrid alone.
        infotexts: of its images, once they are made.
        place: where its files go, None as long as it runs.
        files: those written.
        decoder: which the request wants for small pictures, as `PreviewOptions.decoder`.
        thread: the one that makes it.
    """

    latents: str
    vae: tuple[str, ...]
    is_api: bool = False
    group: str = ""
    role: Role = ""
    compared: dict[str, str] = field(default_factory=dict)
    stop: StopRequest = field(default_factory=StopRequest)
    infotexts: tuple[str, ...] = ()
    place: Place | None = None
    files: Files = field(default_factory=Files)
    decoder: str = "auto"
    thread: int = field(default_factory=threading.get_ident)


def about(generation: Generation) -> Recorded:
    """What was noted of a generation of this host's."""
    assert isinstance(generation.about, Recorded)
    return generation.about
