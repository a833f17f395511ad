"""How this host serves: where the page's generations run, what is laid around every request, how errors are
answered.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from modules import initialize_util
from modules.api.api_errors import api_middleware


def serve(work: Callable[[], None]) -> None:
    """The server's own loop has the main thread."""
    work()


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
    for kind, settings in initialize_util.middleware():
        app.add_middleware(kind, **settings)
    app.build_middleware_stack()


def setup_errors(app: Any) -> None:
    api_middleware(app)
