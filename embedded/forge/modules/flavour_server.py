"""How this host serves: where the page's generations run, what is laid around every request, how errors are
answered.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Thread
from typing import Any

from fastapi.responses import JSONResponse
from modules_forge import main_thread
from starlette.middleware import Middleware

from modules import shared
from modules.api.api import middleware


def serve(work: Callable[[], None]) -> None:
    """The page's generations have the main thread; the server's own loop runs beside it. (The host's main thread
    outlives the server; here the process ends with it.)
    """
    server = Thread(target=work, daemon=True)
    server.start()
    try:
        main_thread.loop(goes_on=server.is_alive)
    except KeyboardInterrupt:
        shared.state.command("stop")
        server.join(10)


def generate(function: Callable[..., Any], *args: Any) -> Any:
    """In the main thread; None where it raised."""
    return main_thread.run_and_wait_result(function, *args)


def told(fault: Exception) -> Exception:
    """What the page says where a generation failed: the main thread's last exception, were it of an earlier request."""
    return main_thread.last_exception or fault


def _answer(request: Any, fault: Exception) -> JSONResponse:
    """The one shape of all errors but HTTPException, which stays FastAPI's."""
    del request
    return JSONResponse({"error": type(fault).__name__, "detail": "", "body": "", "message": str(fault)}, 500)


def application_arguments() -> dict[str, Any]:
    return {"exception_handlers": {Exception: _answer}}


def setup_middleware(app: Any) -> None:
    """Puts compression and the command line's origins into the list that the middleware is built from. gradio's server
    has built it already, so on the page nothing of this is there, and gradio's own rule for other origins stays.
    """
    for kind, settings in middleware():
        app.user_middleware.insert(0, Middleware(kind, **settings))
    app.build_middleware_stack()


def setup_errors(app: Any) -> None:
    """Nothing beyond the application's own handlers."""
    del app
