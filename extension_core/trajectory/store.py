"""Recordings of several generations, each for its owner alone, for a while."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from threading import Lock
from typing import Any

from extension_core.errors import DiversityError

from .frame_pictures import Pictures
from .frames import FrameInfo
from .recorder import MIB, Recorder, Snapshot

Clock = Callable[[], float]

_ID_BYTES = 24
_ID = re.compile(r"[A-Za-z0-9_-]{32}", re.ASCII)


class State(Enum):
    """How far a generation is."""

    RUNNING = "running"
    DONE = "done"
    INTERRUPTED = "interrupted"
    FAILED = "failed"


@dataclass(frozen=True)
class Update:
    """What a page is told of a generation.

    Attributes:
        missing: what is not there and why, in sentences; "" if nothing is missing.
        etag: of this answer; the same as long as it would say the same.
    """

    state: State
    missing: str
    snapshot: Snapshot
    etag: str

    @property
    def frames(self) -> tuple[FrameInfo, ...]:
        """Frames that came after the cursor."""
        return self.snapshot.frames

    @property
    def cursor(self) -> int:
        """What to ask with next time, so that no frame is sent twice."""
        return self.snapshot.cursor

    def as_json(self) -> dict[str, Any]:
        """For `json.dumps`."""
        return {
            "state": self.state.value,
            "missing": self.missing,
            "frames": [frame.as_json() for frame in self.frames],
            "cursor": self.cursor,
            "kept": list(self.snapshot.kept),
            "dropped": self.snapshot.dropped,
            "thinned": self.snapshot.thinned,
            "missed": self.snapshot.missed,
        }


class Generation:
    """One generation: its frames while it runs and for a while after, and their pictures.

    Attributes:
        about: what the host's side wants to know of it later; not looked at here.
    """

    def __init__(
        self, identifier: str, owner: str, key: str, recorder: Recorder, pictures: Pictures, about: Any = None
    ) -> None:
        self.id = identifier
        self.owner = owner
        self.key = key
        self.recorder = recorder
        self.pictures = pictures
        self.about = about
        self._lock = Lock()
        self._state = State.RUNNING
        self._missing = ""

    @property
    def state(self) -> State:
        """How far it is."""
        return self._state

    @property
    def nbytes(self) -> int:
        """Bytes of its frames and its pictures."""
        return self.recorder.nbytes + self.pictures.nbytes

    def finish(self, state: State, missing: str = "") -> None:
        """It has ended, so; the first ending stands. For the thread that samples.

        Args:
            missing: one sentence on what is not there for that reason, "" if all is.
        """
        self.recorder.settle()
        with self._lock:
            if self._state is State.RUNNING and state is not State.RUNNING:
                self._state, self._missing = state, missing

    def update(self, since: int = 0) -> Update:
        """What is new after a cursor (0: everything there is)."""
        with self._lock:
            state, ended = self._state, self._missing
        snapshot = self.recorder.snapshot(since)
        missing = " ".join(sentence for sentence in (ended, self.recorder.missing()) if sentence)
        return Update(state, missing, snapshot, f'"{snapshot.version}-{since}-{state.value}"')


@dataclass(frozen=True)
class Expiry:
    """When recordings go.

    Attributes:
        seconds: after the last change: a frame, or the end.
        count: how many are kept; those that run are never sent away for it.
        nbytes: RAM of all recordings and their pictures together, the newest excepted; those that run are never sent
            away for it.
    """

    seconds: float = 3600.0
    count: int = 8
    nbytes: int = 1024 * MIB


@dataclass
class _Entry:
    generation: Generation
    seen: tuple[int, State]
    changed: float


class Store:
    """Generations by id. Any thread; no lock is held while anything is decoded or waited for.

    Time is looked at in each call; there is no timer. Memory is looked at when a generation is opened.
    """

    def __init__(self, expiry: Expiry | None = None, clock: Clock = time.monotonic) -> None:
        self._expiry = expiry or Expiry()
        self._clock = clock
        self._lock = Lock()
        self._entries: dict[str, _Entry] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def open(
        self,
        owner: str,
        identifier: str | None = None,
        key: str = "",
        recorder: Recorder | None = None,
        pictures: Pictures | None = None,
        about: Any = None,
    ) -> Generation:
        """A new generation.

        Args:
            owner: whom it is for: the logged-in user; compared, never shown.
            identifier: made by the client (24 random bytes in URL-safe base64, 32 characters), so that it can ask
                before anything has answered; None: made here.
            key: of the same form, made by a page for itself: `under` finds the page's generations by it.
            about: kept with it.

        Raises:
            DiversityError: the id or the key has another form, or the id is taken.
        """
        identifier = secrets.token_urlsafe(_ID_BYTES) if identifier is None else identifier
        for name, given in (("id", identifier), ("key", key or identifier)):
            if not _ID.fullmatch(given):
                raise DiversityError(
                    f"The {name} of the preview is not 24 random bytes in URL-safe base64 (32 letters, digits, - and "
                    "_); leave it out to be given one."
                )
        generation = Generation(identifier, owner, key, recorder or Recorder(), pictures or Pictures(), about)
        with self._lock:
            self._expire()
            if identifier in self._entries:
                raise DiversityError("The id of the preview is in use; every generation needs a new random one.")
            self._entries[identifier] = _Entry(generation, _seen(generation), self._clock())
            self._make_room()
        return generation

    def find(self, identifier: str, owner: str) -> Generation | None:
        """The generation of this id if it is this owner's; None for every other case, so that nothing is learnt."""
        with self._lock:
            self._expire()
            entry = self._entries.get(identifier)
        return entry.generation if entry is not None and _same(entry.generation.owner, owner) else None

    def under(self, key: str, owner: str) -> tuple[Generation, ...]:
        """A page's generations, oldest first; none for a key or an owner that are not theirs."""
        with self._lock:
            self._expire()
            generations = [entry.generation for entry in self._entries.values()]
        return tuple(
            generation
            for generation in generations
            if generation.key and _same(generation.key, key) and _same(generation.owner, owner)
        )

    def _expire(self) -> None:
        now = self._clock()
        for identifier, entry in list(self._entries.items()):
            if (seen := _seen(entry.generation)) != entry.seen:
                entry.seen, entry.changed = seen, now
            elif now - entry.changed >= self._expiry.seconds:
                del self._entries[identifier]

    def _make_room(self) -> None:
        *older, _ = self._entries.items()
        sizes = {identifier: entry.generation.nbytes for identifier, entry in older}
        for identifier, entry in older:
            fits = len(self._entries) <= self._expiry.count and sum(sizes.values()) <= self._expiry.nbytes
            if not fits and entry.generation.state is not State.RUNNING:
                del self._entries[identifier]
                del sizes[identifier]


def _same(one: str, other: str) -> bool:
    return secrets.compare_digest(one.encode(), other.encode())


def _seen(generation: Generation) -> tuple[int, State]:
    return generation.recorder.version, generation.state
