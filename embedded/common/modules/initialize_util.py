"""What start-up needs around the server."""

from __future__ import annotations

import asyncio
import contextlib
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


class _LoopForEveryThread(asyncio.DefaultEventLoopPolicy):
    """asyncio gives the main thread alone an event loop unasked; gradio asks for one wherever it is started."""

    def get_event_loop(self) -> asyncio.AbstractEventLoop:
        with contextlib.suppress(RuntimeError):
            return super().get_event_loop()
        self.set_event_loop(self.new_event_loop())
        return super().get_event_loop()


def fix_asyncio_event_loop_policy() -> None:
    asyncio.set_event_loop_policy(_LoopForEveryThread())


def middleware() -> list[tuple[Any, dict[str, Any]]]:
    """What lies around every request, the innermost first: compression, and access for the origins that the command
    line names.
    """
    from fastapi.middleware.cors import CORSMiddleware
    from fastapi.middleware.gzip import GZipMiddleware

    origins: dict[str, Any] = {"allow_methods": ["*"], "allow_headers": ["*"], "allow_credentials": True}
    if cmd_opts.cors_allow_origins:
        origins["allow_origins"] = cmd_opts.cors_allow_origins.split(",")
    if cmd_opts.cors_allow_origins_regex:
        origins["allow_origin_regex"] = cmd_opts.cors_allow_origins_regex
    return [(GZipMiddleware, {"minimum_size": 1000}), (CORSMiddleware, origins)]
