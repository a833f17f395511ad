"""How this host serves: where the page's generations run, what is laid around every request, how errors are
answered.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse

from modules import errors
from modules.api.api import middleware


def serve(work: Callable[[], None]) -> None:
    """The server's own loop has the main thread."""
    try:
        work()
    except KeyboardInterrupt:
        print("Stopped.")


def generate(function: Callable[..., Any], *args: Any) -> Any:
    """In the thread that gradio calls from."""
    return function(*args)


def told(fault: Exception) -> Exception:
    """What the page says where a generation failed."""
    return fault


def application_arguments() -> dict[str, Any]:
    return {}


def setup_middleware(app: Any) -> None:
    """Compression, and access from the origins that the command line names. Rebuilds gradio's middleware, which fails
    once a request was served.
    """
    app.middleware_stack = None
    for kind, settings in middleware():
        app.add_middleware(kind, **settings)
    app.build_middleware_stack()


def _answer(fault: Exception) -> JSONResponse:
    """The one shape of all errors; what is no HTTPException has status 500 and is reported."""
    if not isinstance(fault, HTTPException):
        errors.report("A request failed", exc_info=True)
    told = {"detail": getattr(fault, "detail", ""), "body": "", "error": type(fault).__name__, "errors": str(fault)}
    return JSONResponse(told, getattr(fault, "status_code", 500), getattr(fault, "headers", None))


def setup_errors(app: FastAPI) -> None:
    @app.middleware("http")
    async def guard(request: Request, call_next: Any) -> Any:
        try:
            return await call_next(request)
        except Exception as fault:
            return _answer(fault)

    @app.exception_handler(HTTPException)
    async def refused(request: Request, fault: HTTPException) -> JSONResponse:
        del request
        return _answer(fault)
