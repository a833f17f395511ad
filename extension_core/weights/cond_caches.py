"""A host's prompt caches for one more reading of the prompt."""

from __future__ import annotations

from typing import Any


class CondCaches:
    """One pair (arguments, result) per kind of conditioning, valid for one factor on the networks' weights.

    The hosts' caches know the prompt and its networks but not that factor.
    """

    def __init__(self) -> None:
        self._factor = 1.0
        self._caches: dict[str, list[Any]] = {}

    def of(self, factor: float) -> dict[str, list[Any]]:
        """The caches for a factor; another one's are forgotten."""
        if factor != self._factor:
            self._caches.clear()
            self._factor = factor
        return self._caches

    def clear(self) -> None:
        """Forget everything."""
        self._caches.clear()
