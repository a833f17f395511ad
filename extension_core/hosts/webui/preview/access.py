"""Whose a request is: the host's own logins, asked for on every route, and how often a page may ask."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from fastapi import HTTPException, Request
from fastapi.security import HTTPBasic
from modules import shared

from extension_core.hosts.webui.preview.recorded import STORE, Recorded
from extension_core.trajectory.store import Generation

_BASIC = HTTPBasic(auto_error=False)


@dataclass(frozen=True)
class Visitor:
    """Who sent a request.

    Attributes:
        user: name at the page's login, "" without one.
        page: whether recordings of pages may be asked for.
        api: whether recordings of API requests may be asked for.
    """

    user: str
    page: bool
    api: bool

    def generation(self, identifier: str) -> Generation | None:
        """The generation of this id if it may be seen; None tells nothing of why not."""
        if self.page and (found := _recorded(STORE.find(identifier, self.user), is_api=False)):
            return found
        return _recorded(STORE.find(identifier, ""), is_api=True) if self.api else None

    def newest(self, key: str) -> tuple[Generation, ...]:
        """The newest of a page's generations, or all that it is to be compared with; none for a key of nobody's."""
        if not self.page:
            return ()
        generations = [x for x in STORE.under(key, self.user) if _recorded(x, is_api=False)]
        group = generations[-1].about.group if generations else ""
        return tuple(x for x in generations if x.about.group == group) if group else tuple(generations[-1:])


def _recorded(generation: Generation | None, is_api: bool) -> Generation | None:
    """The generation, if it is of the page or of the API as wanted."""
    if generation is None or not isinstance(generation.about, Recorded):
        return None
    return generation if generation.about.is_api == is_api else None


class Doors:
    """The logins of one application.

    gradio guards its routes one by one and offers nothing else (3.41.2 and 4.40.0, gradio/routes.py), so its own
    endpoint `/user` is asked who is there. The API's guard is what its own routes depend on.
    """

    def __init__(self, app: Any) -> None:
        self._app = app
        self._user = _endpoint(app, "/user")
        self._guard = _guard(app, "/sdapi/v1/progress")

    async def visitor(self, request: Request) -> Visitor:
        """Who is there, by the host's cookies and the API's password."""
        user = self._user(request) if self._user else None
        guarded = self._guard is not None or bool(shared.cmd_opts.api_auth)
        return Visitor(
            user=str(user or ""),
            page=not self._has_login() or user is not None,
            api=not guarded or await self._knows_password(request),
        )

    def refuses(self, visitor: Visitor, request: Request) -> bool:
        """Whether nothing at all may be seen: neither login, or a wrong password."""
        wrong = "authorization" in request.headers and self._guard is not None and not visitor.api
        return wrong or not (visitor.page or visitor.api)

    def _has_login(self) -> bool:
        asks = (getattr(self._app, name, None) for name in ("auth", "auth_dependency"))
        return any(ask is not None for ask in asks)

    async def _knows_password(self, request: Request) -> bool:
        try:
            credentials = await _BASIC(request)
            if credentials is None or self._guard is None:
                return False
            self._guard(credentials)
        except (HTTPException, TypeError):  # compare_digest refuses letters that are not ASCII
            return False
        return True


def _endpoint(app: Any, path: str) -> Callable[[Request], str | None] | None:
    return next((route.endpoint for route in app.routes if getattr(route, "path", None) == path), None)


def _guard(app: Any, path: str) -> Callable[[Any], object] | None:
    route = next((route for route in app.routes if getattr(route, "path", None) == path), None)
    depends = getattr(route, "dependencies", None)
    return depends[0].dependency if depends else None


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
