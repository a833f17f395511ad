"""What the listed files are, looked at in the background: asking for a list opens none of them.

Hosts list thousands of files, on disks that sleep and on network drives. So one thread looks at them one by one, at
most so many for each time that somebody asks, those first that are most likely wanted.
"""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from extension_core.errors import DiversityError
from extension_core.options.model_names import LORA_LABEL, PICKLE_SUFFIXES, UNET_LABEL
from extension_core.sampling.families import Detection, detect_family
from extension_core.sampling.roles import is_few_step
from extension_core.weights.choices import Choice
from extension_core.weights.file_facts import Facts, Kind, facts_of
from extension_core.weights.file_state import FileState, state_of, unreadable
from extension_core.weights.kinds_of_file import config_beside
from extension_core.weights.reader import header_of

MOST_AT_ONCE = 200
_LOG = logging.getLogger("diversity_distillation")


@dataclass(frozen=True)
class Seen:
    """What a file tells.

    Attributes:
        detection: by name and metadata, None where it cannot be read.
        unknown: why nothing is known of its architecture, "" if it is.
    """

    detection: Detection | None
    facts: Facts
    unknown: str = ""


class KnownFiles:
    """Attributes: start: runs a function beside everything else; a thread, but in tests."""

    def __init__(self, start: Callable[[Callable[[], None]], None] | None = None) -> None:
        self._start = start or _in_a_thread
        self._seen: dict[Path, tuple[FileState, Seen]] = {}
        self._lock = threading.Lock()
        self._looking = False

    def seen(self, listed: Sequence[Choice]) -> tuple[list[Seen], int]:
        """(what is known of each by now, how many have not been looked at); begins to look at some of those."""
        states = [_state(choice) for choice in listed]
        with self._lock:
            known = [self._known(choice, state) for choice, state in zip(listed, states, strict=True)]
            kept = {choice.path for choice in listed}
            self._seen = {path: seen for path, seen in self._seen.items() if path in kept}
        unseen = [choice for choice, seen in zip(listed, known, strict=True) if seen is None]
        if unseen:
            self._look(unseen)
        return [seen or _by_name(choice) for choice, seen in zip(listed, known, strict=True)], len(unseen)

    def _known(self, choice: Choice, state: FileState | DiversityError) -> Seen | None:
        if isinstance(state, DiversityError):
            return Seen(None, Facts(problem=str(state)))
        if choice.path.suffix.lower() in PICKLE_SUFFIXES:  # it has no header and would have to be loaded
            return _by_name(choice, "a pickle is not opened to be looked at")
        seen = self._seen.get(choice.path)
        return seen[1] if seen is not None and seen[0] == state else None

    def _look(self, unseen: Sequence[Choice]) -> None:
        with self._lock:
            if self._looking:
                return
            self._looking = True
        first = sorted(unseen, key=lambda choice: not is_few_step(_detected(choice.name)))[:MOST_AT_ONCE]
        self._start(lambda: self._look_at(first))

    def _look_at(self, some: Sequence[Choice]) -> None:
        try:
            for choice in some:
                state = _state(choice)
                if isinstance(state, FileState):
                    seen = _read(choice, state)
                    with self._lock:
                        self._seen[choice.path] = (state, seen)
        finally:
            with self._lock:
                self._looking = False


def _in_a_thread(call: Callable[[], None]) -> None:
    threading.Thread(target=call, name="diversity-distillation-files", daemon=True).start()


def _state(choice: Choice) -> FileState | DiversityError:
    try:
        return state_of(choice.path)
    except DiversityError as error:
        return error


def _by_name(choice: Choice, unknown: str = "it has not been looked at yet") -> Seen:
    return Seen(_detected(choice.name), Facts(_kind(choice.label)), unknown)


@functools.lru_cache(maxsize=50_000)
def _detected(name: str) -> Detection:
    """By the name alone; asked again with every list."""
    return detect_family(name, {})


def _kind(label: str) -> Kind:
    if label.startswith(LORA_LABEL):
        return "lora"
    return "unet" if label.startswith(UNET_LABEL) else "checkpoint"


def _read(choice: Choice, state: FileState) -> Seen:
    try:
        header = header_of(choice.path, state)
        return Seen(detect_family(choice.name, header.metadata), facts_of(header, config_beside(choice.path)))
    except DiversityError as error:
        return Seen(None, Facts(problem=str(error)))
    except Exception:  # noqa: BLE001 - whatever it is, it is this file's alone
        _LOG.exception("the model file '%s' cannot be looked at", choice.path.name)
        return Seen(
            None, Facts(problem=str(unreadable(choice.path, "it is of a kind that was not foreseen (see log)")))
        )
