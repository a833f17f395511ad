"""Which recordings belong together: those of one request of a user's, and those made within one that is running."""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING, Any

from extension_core.hosts.common.preview.recorded import STORE, about
from extension_core.hosts.common.processing.takeover import Replaced
from extension_core.trajectory.store import Generation, State

if TYPE_CHECKING:
    from extension_core.hosts.common.preview.recording import Recording

_ATTRIBUTE = "diversity_distillation_runs"


class Runs:
    """The recordings of one request of a user's, which its scripts may run many times, itself or copies of it.

    A host's page or API closes the request when it is done, and no copy of it.
    """

    def __init__(self, p: Any) -> None:
        self._request = weakref.ref(p)
        self._identifiers: set[str] = set()
        self._last: Recording | None = None
        self._close: Replaced | None = None

    def identifier(self, preferred: str | None, within: Generation | None) -> str | None:
        """The id for the next recording: a client's own is for the first; None for a new one.

        Args:
            within: the recording that is running, in the request of which this one is made.
        """
        taken = preferred in self._identifiers or (within is not None and within.id == preferred)
        if preferred is None or taken:
            return None
        self._identifiers.add(preferred)
        return preferred

    def opened(self, recording: Recording) -> None:
        """A recording has begun."""
        self._last = recording
        request = self._request()
        if request is not None and request is not recording.p and self._close is None and hasattr(request, "close"):
            self._close = Replaced(request, "close", self._closing)

    def leave(self, copied: Any) -> None:
        """Take off a copy of the request what would close the original."""
        if self._close is not None and copied is not self._request():
            self._close.take_off(copied)

    def end_last(self) -> None:
        """Another one is to begin, or none any more: the last one's processing may have failed where nobody looks."""
        if self._last is not None:
            self._last.abandon()

    def _closing(self, replaced: Replaced, args: Any, kwargs: Any) -> Any:
        self.end_last()
        return replaced.under(*args, **kwargs)


def begin(p: Any) -> None:
    """A request has its scripts; whatever is copied from it from now on belongs to it."""
    setattr(p, _ATTRIBUTE, Runs(p))


def of(p: Any) -> Runs:
    """Those that a processing object's recordings belong to."""
    if _ATTRIBUTE not in vars(p):
        begin(p)
    return vars(p)[_ATTRIBUTE]


def running(owner: str, identifier: str | None, page: str) -> Generation | None:
    """The recording within whose request another one is about to be made, None if there is none.

    Found by what a client or a page has sent, which other extensions pass on. It must have been begun by this very
    thread: hosts make a request, and what others make within it, in one.
    """
    found = [STORE.find(identifier, owner)] if identifier else []
    found += STORE.under(page, owner) if page else ()
    here = threading.get_ident()
    return next((x for x in found if x is not None and x.state is State.RUNNING and about(x).thread == here), None)
