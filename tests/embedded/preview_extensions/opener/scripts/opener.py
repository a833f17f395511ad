"""Opens recordings for tests that see the server over HTTP alone, and tells what it is made of."""

import threading

import torch
from modules import script_callbacks


def _open(wanted: dict) -> dict:
    from tests.embedded.previews import open_recording

    shape = (2, 4, 16, 16)
    latents = [torch.randn(shape, generator=torch.Generator().manual_seed(step)) for step in range(4)]
    generation = open_recording(frames=4, latents=latents, **wanted)
    return {"id": generation.id, "key": generation.key}


def _census(app) -> dict:
    paths = [f"{route.path} {sorted(route.methods)}" for route in app.routes if hasattr(route, "methods")]
    return {
        "threads": sorted(x.name for x in threading.enumerate() if x.name.startswith("diversity-distillation")),
        "routes": sorted(path for path in paths if path.startswith("/diversity-distillation")),
    }


def _routes(_demo, app) -> None:
    app.add_api_route("/test/open", _open, methods=["POST"])
    app.add_api_route("/test/census", lambda: _census(app), methods=["GET"])


script_callbacks.on_app_started(_routes)
