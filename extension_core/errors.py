"""The errors a user is meant to read."""

from __future__ import annotations


class DiversityError(ValueError):
    """A request that cannot be honoured: one sentence with what was wrong, what was found and what to do."""


class NotEnoughMemory(DiversityError):
    """A model does not fit where it was to go."""


def first_line(error: BaseException) -> str:
    """What an error says, short enough to stand in a sentence: its first line without the full stop, or its name."""
    return str(error).strip().partition("\n")[0].rstrip(" .") or type(error).__name__
