"""The errors a user is meant to read."""

from __future__ import annotations

import re

# Ends of lines, control codes of terminals, marks that turn the direction of writing, and halves of pairs.
_UNSAYABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")

# As torch says it; kept apart from weights/out_of_memory.py, as nothing here needs torch.
_NO_MEMORY = ("out of memory", "not enough memory", "allocate memory")


class DiversityError(ValueError):
    """A request that cannot be honoured: one sentence with what was wrong, what was found and what to do."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sayable(sentence))


class NotEnoughMemory(DiversityError):
    """A model does not fit where it was to go."""


def sayable(text: str) -> str:
    """A text that may quote files and requests, as it can be shown and sent: names in them hold anything."""
    return _UNSAYABLE.sub("?", text)


def reason(error: BaseException) -> str:
    """Why something failed, as it can stand in a user's sentence: a library's own text is of no use there, so that is
    left to the log.
    """
    if isinstance(error, DiversityError):
        return first_line(error)
    if isinstance(error, MemoryError) or any(said in str(error) for said in _NO_MEMORY):
        return "memory ran out"
    return getattr(error, "strerror", None) or "the log says what went wrong"


def first_line(error: BaseException) -> str:
    """What an error says, short enough to stand in a sentence: its first line without the full stop, or its name."""
    return str(error).strip().partition("\n")[0].rstrip(" .") or type(error).__name__
