"""The errors a user is meant to read."""

from __future__ import annotations


class DiversityError(ValueError):
    """A request that cannot be honoured: one sentence with what was wrong, what was found and what to do."""


class NotEnoughMemory(DiversityError):
    """A model does not fit where it was to go."""
