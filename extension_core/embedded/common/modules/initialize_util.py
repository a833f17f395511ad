"""What start-up needs around the server."""

from __future__ import annotations

from typing import Any

from modules.shared_cmd_options import cmd_opts


def gradio_server_name() -> str | None:
    return cmd_opts.server_name or ("0.0.0.0" if cmd_opts.listen else None)


def get_gradio_auth_creds() -> list[tuple[str, str]]:
    pairs = [x.strip().split(":", maxsplit=1) for x in (cmd_opts.gradio_auth or "").split(",") if x.strip()]
    return [(user, password) for user, password in pairs]


def configure_opts_onchange() -> None:
    from modules import model_handling

    model_handling.watch_settings()


def setup_middleware(app: Any) -> None:
    """Compression, and access from the page's own origin alone. Rebuilds gradio's middleware, which fails once a
    request was served.
    """
    from fastapi.middleware.cors import CORSMiddleware
    from fastapi.middleware.gzip import GZipMiddleware

    app.middleware_stack = None
    app.add_middleware(GZipMiddleware, minimum_size=1000)
    app.add_middleware(CORSMiddleware, allow_methods=["*"], allow_headers=["*"])
    app.build_middleware_stack()
