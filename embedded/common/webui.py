"""The server: the page with the API beside it, or the API alone; stopped or rebuilt by commands that the page gives."""

from __future__ import annotations

import gc
import threading
import time
from typing import Any

from modules.timer import startup_timer


def create_api(app: Any) -> Any:
    from modules.api.api import Api
    from modules.call_queue import queue_lock

    return Api(app, queue_lock)


def api_app() -> tuple[Any, Any]:
    """The application without a page, started up, and its Api."""
    from modules import initialize

    initialize.initialize()
    return _application()


def _application() -> tuple[Any, Any]:
    from fastapi import FastAPI
    from modules import flavour_server, script_callbacks

    app = FastAPI(**flavour_server.application_arguments())
    flavour_server.setup_middleware(app)
    api = create_api(app)
    script_callbacks.before_ui_callback()
    script_callbacks.app_started_callback(None, app)
    return app, api


def _stop_after(seconds: float | None) -> None:
    from modules import shared

    if seconds is not None:
        timer = threading.Timer(seconds, lambda: setattr(shared.state, "server_command", "stop"))
        timer.daemon = True
        timer.start()


def api_only() -> None:
    from modules import initialize_util
    from modules.shared_cmd_options import cmd_opts

    _, api = _application()
    port = cmd_opts.port or 7861
    print(f"Running on local URL:  http://127.0.0.1:{port}")
    print(f"Startup time: {startup_timer.summary()}.", flush=True)
    thread = threading.Thread(
        target=api.launch, args=(initialize_util.gradio_server_name(), port, cmd_opts.subpath or ""), daemon=True
    )
    thread.start()
    _stop_after(cmd_opts.listen_timeout)
    _wait()


def _wait() -> str:
    """The command that ends this round: "stop" or "restart"."""
    from modules import shared

    try:
        while True:
            command = shared.state.wait_for_server_command(timeout=5)
            if command in ("stop", "restart"):
                return command
    except KeyboardInterrupt:
        return "stop"


def _launch(demo: Any) -> Any:
    """Starts gradio's server and adds the host's routes to it. A request in between finds the middleware already built
    and kills the server, as on the real host.
    """
    from modules import flavour_server, initialize_util, progress, ui, ui_gradio_extensions
    from modules.shared_cmd_options import cmd_opts

    app, _, _ = demo.launch(
        share=cmd_opts.share,
        server_name=initialize_util.gradio_server_name(),
        server_port=cmd_opts.port,
        auth=initialize_util.get_gradio_auth_creds() or None,
        inbrowser=cmd_opts.autolaunch,
        prevent_thread_lock=True,
        allowed_paths=ui_gradio_extensions.allowed_paths(),
        app_kwargs={"docs_url": "/docs", "redoc_url": "/redoc", **flavour_server.application_arguments()},
        root_path=f"/{cmd_opts.subpath}" if cmd_opts.subpath else "",
        quiet=False,
    )
    app.user_middleware = [x for x in app.user_middleware if x.cls.__name__ != "CORSMiddleware"]
    flavour_server.setup_middleware(app)
    progress.setup_progress_api(app)
    ui.setup_ui_api(app)
    create_api(app)
    return app


def webui() -> None:
    from modules import initialize, script_callbacks, shared, ui
    from modules.shared_cmd_options import cmd_opts

    _stop_after(cmd_opts.listen_timeout)
    while True:
        script_callbacks.before_ui_callback()
        demo: Any = ui.create_ui()
        shared.demo = demo
        startup_timer.record("create ui")
        if not cmd_opts.no_gradio_queue:
            demo.queue(64)
        app = _launch(demo)
        startup_timer.record("gradio launch")
        script_callbacks.app_started_callback(demo, app)
        gc.freeze()  # the libraries and the page, so that a collection at a model's change has little to look through
        print(f"Startup time: {startup_timer.summary()}.", flush=True)
        command = _wait()
        gc.unfreeze()
        demo.close()
        if command == "stop":
            return
        print("Restarting UI...", flush=True)
        time.sleep(0.5)
        startup_timer.reset()
        script_callbacks.app_reload_callback()
        script_callbacks.script_unloaded_callback()
        initialize.initialize_rest(reload_script_modules=True)


def main() -> None:
    from modules import initialize

    initialize.imports()
    initialize.initialize()
    from modules import flavour_server
    from modules.shared_cmd_options import cmd_opts

    flavour_server.serve(api_only if cmd_opts.nowebui else webui)
