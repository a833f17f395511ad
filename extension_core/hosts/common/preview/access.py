"""Which recordings a visitor may see, and how often a page may ask."""

from __future__ import annotations

import time
from collections.abc import Callable
from weakref import WeakKeyDictionary

from extension_core.hosts.common.http.access import Visitor
from extension_core.hosts.common.preview.recorded import STORE, Recorded
from extension_core.trajectory.store import Generation


def generation_for(visitor: Visitor, identifier: str) -> Generation | None:
    """The generation of this id if it may be seen; None tells nothing of why not."""
    if visitor.page and (found := _recorded(STORE.find(identifier, visitor.user), is_api=False)):
        return found
    return _recorded(STORE.find(identifier, ""), is_api=True) if visitor.api else None


def newest_for(visitor: Visitor, key: str) -> tuple[Generation, ...]:
    """The newest of a page's generations, or all that it is to be compared with; none for a key of nobody's."""
    if not visitor.page:
        return ()
    generations = [x for x in STORE.under(key, visitor.user) if _recorded(x, is_api=False)]
    group = generations[-1].about.group if generations else ""
    return tuple(x for x in generations if x.about.group == group) if group else tuple(generations[-1:])


def _recorded(generation: Generation | None, is_api: bool) -> Generation | None:
    """The generation, if it is of the page or of the API as wanted."""
    if generation is None or not isinstance(generation.about, Recorded):
        return None
    return generation if generation.about.is_api == is_api else None


class Rate:
    """How often each generation may be asked after: a bucket that fills again.

    Args:
        burst: requests at once.
        per_second: requests for as long as one likes.
    """

    def __init__(self, burst: float, per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._burst, self._per_second, self._clock = burst, per_second, clock
        self._left: WeakKeyDictionary[Generation, tuple[float, float]] = WeakKeyDictionary()

    def allows(self, generation: Generation) -> bool:
        """Count a request; False if there were too many."""
        now = self._clock()
        left, when = self._left.get(generation, (self._burst, now))
        left = min(self._burst, left + (now - when) * self._per_second)
        self._left[generation] = (left - 1 if left >= 1 else left), now
        return left >= 1
