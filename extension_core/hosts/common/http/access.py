"""Whose a request is: the host's own logins, asked for on each of our routes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fastapi import HTTPException, Request
from fastapi.security import HTTPBasic
from modules import shared

_BASIC = HTTPBasic(auto_error=False)


@dataclass(frozen=True)
class Visitor:
    """Who sent a request.

    Attributes:
        user: name at the page's login, "" without one.
        page: whether the page may be opened.
        api: whether the API may be used.
    """

    user: str
    page: bool
    api: bool


class Auth:
    """The logins of one application.

    gradio guards its routes one by one and offers nothing else (3.41.2 and 4.40.0, gradio/routes.py), so its own
    endpoint `/user` is asked who is there. The API's guard is what its own routes depend on.
    """

    def __init__(self, app: Any) -> None:
        self._app = app
        self._user = _endpoint(app, "/user")
        self._guard = _guard(app, "/sdapi/v1/progress")

    @property
    def api_guarded(self) -> bool:
        """Whether the API wants a password."""
        return self._guard is not None or bool(shared.cmd_opts.api_auth)

    async def visitor(self, request: Request) -> Visitor:
        """Who is there, by the host's cookies and the API's password."""
        user = self._user(request) if self._user else None
        return Visitor(
            user=str(user or ""),
            page=not self._has_login() or user is not None,
            api=not self.api_guarded or await self._knows_password(request),
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
