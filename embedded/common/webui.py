"""The server: the page with the API beside it, or the API alone; rebuilt or stopped by commands to `shared.state`."""

from __future__ import annotations

import gc
import threading
import time
from typing import Any

from modules.timer import startup_timer


def _address() -> str:
    from modules.shared import cmd_opts

    return cmd_opts.server_name or ("0.0.0.0" if cmd_opts.listen else "127.0.0.1")


def api_app() -> tuple[Any, Any]:
    """The application without a page, started up, and its Api."""
    from fastapi import FastAPI
    from modules import flavour_server, initialize, script_callbacks
    from modules.api.api import Api
    from modules.call_queue import queue_lock

    initialize.initialize()
    app = FastAPI(**flavour_server.application_arguments())
    flavour_server.setup_middleware(app)
    api = Api(app, queue_lock)
    script_callbacks.before_ui_callback()
    script_callbacks.app_started_callback(None, app)
    return app, api


def _api_alone() -> None:
    import uvicorn
    from modules.shared import cmd_opts, state

    app, _ = api_app()
    given = {"host": _address(), "port": cmd_opts.port or 7861, "log_level": "warning"}
    threading.Thread(target=lambda: uvicorn.run(app, **given), daemon=True).start()
    _say(given["port"])
    state.wait_for_server_command()


def _say(port: int) -> None:
    print(f"Running on local URL:  http://127.0.0.1:{port}\nStartup time: {startup_timer.summary()}.", flush=True)


def _with_page() -> None:
    from modules import initialize, script_callbacks, shared

    initialize.initialize()
    while True:
        demo, app = _launched()
        script_callbacks.app_started_callback(demo, app)
        gc.freeze()  # the libraries and the page, so that a collection at a model's change has little to look through
        print(f"Startup time: {startup_timer.summary()}.", flush=True)
        command = shared.state.wait_for_server_command()
        gc.unfreeze()
        demo.close()
        if command != "restart":
            return
        print("Restarting UI...", flush=True)
        time.sleep(0.5)  # for the answer to whoever asked for it
        startup_timer.reset()
        script_callbacks.script_unloaded_callback()
        initialize.initialize_rest()


def _launched() -> tuple[Any, Any]:
    """The page, to whose server the WebUI's own routes are added; a request in between finds its middleware built."""
    from modules import flavour_server, progress, script_callbacks, shared, ui, ui_gradio_extensions
    from modules.api.api import Api
    from modules.call_queue import queue_lock
    from modules.shared import cmd_opts

    script_callbacks.before_ui_callback()
    shared.demo = demo = ui.create_ui().queue(64)
    logins = [tuple(pair.split(":", 1)) for pair in (cmd_opts.gradio_auth or "").split(",") if pair]
    app: Any = demo.launch(
        server_name=_address(),
        server_port=cmd_opts.port,
        auth=logins or None,
        allowed_paths=ui_gradio_extensions.allowed_paths(),
        app_kwargs={"docs_url": "/docs", "redoc_url": "/redoc", **flavour_server.application_arguments()},
        prevent_thread_lock=True,
    )[0]
    flavour_server.setup_middleware(app)
    progress.setup_progress_api(app)
    Api(app, queue_lock)
    return demo, app


def main() -> None:
    from modules import initialize

    initialize.imports()
    from modules import flavour_server
    from modules.shared import cmd_opts

    flavour_server.serve(_api_alone if cmd_opts.nowebui else _with_page)
