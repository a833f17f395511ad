"""One embedded WebUI inside the test process, so that tests can look at the model and act inside hooks."""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

from embedded.distill.export import random_checkpoint
from embedded.start import prepare
from tests.e2e.checkpoints import make_lora

HERE = Path(__file__).parent
FLAVOUR = os.environ.get("DD_FLAVOUR", "a1111")


@dataclass
class Answer:
    """A generation over the API: [n] uint8 images with their infotexts, or an error's status and body."""

    status: int
    body: dict[str, Any]
    images: list[np.ndarray] = field(default_factory=list)

    @property
    def info(self) -> dict[str, Any]:
        return json.loads(self.body["info"])

    @property
    def infotext(self) -> str:
        return self.info["infotexts"][0]

    def equals(self, other: Answer) -> bool:
        assert self.status == other.status == 200, (self.body, other.body)
        return all(np.array_equal(a, b) for a, b in zip(self.images, other.images, strict=True))


def png_base64(image: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(image.astype(np.uint8)).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


class Host:
    """The running application, its package `modules`, and what the recorder extension keeps."""

    def __init__(self, client: Any, modules: ModuleType, recorder: ModuleType, data: Path) -> None:
        self.client, self.modules, self.recorder, self.data = client, modules, recorder, data

    def post(self, path: str, **payload: Any) -> Answer:
        reply = self.client.post(f"/sdapi/v1/{path}", json=payload)
        body = reply.json()
        images = body.get("images") or [] if reply.status_code == 200 and isinstance(body, dict) else []
        pictures = [np.asarray(Image.open(io.BytesIO(base64.b64decode(x))).convert("RGB")) for x in images]
        return Answer(reply.status_code, body, pictures)

    def get(self, path: str) -> Any:
        reply = self.client.get(f"/sdapi/v1/{path}")
        assert reply.status_code == 200, reply.text
        return reply.json()

    def txt2img(self, **request: Any) -> Answer:
        defaults = {"prompt": "a red cat", "negative_prompt": "bad", "seed": 1, "steps": 4, "cfg_scale": 5}
        defaults |= {"width": 64, "height": 64, "sampler_name": "Euler", "scheduler": "Automatic"}
        return self.post("txt2img", **{**defaults, **request})

    def img2img(self, image: np.ndarray, **request: Any) -> Answer:
        defaults = {"prompt": "a red cat", "seed": 1, "steps": 6, "cfg_scale": 5, "width": 64, "height": 64}
        defaults |= {"sampler_name": "Euler", "init_images": [png_base64(image)], "denoising_strength": 0.6}
        return self.post("img2img", **{**defaults, **request})

    def names(self) -> list[str]:
        """Names of the hooks and callbacks that ran."""
        return [name for name, _ in self.recorder.events]

    def seen(self, name: str) -> list[tuple[Any, ...]]:
        return [args for known, args in self.recorder.events if known == name]


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """base, second (same text encoder), other (another text encoder), and Lora/tiny."""
    folder = tmp_path_factory.mktemp("models")
    base = random_checkpoint(folder / "base.safetensors", seed=1)
    random_checkpoint(folder / "second.safetensors", seed=2, shared_with=base)
    random_checkpoint(folder / "other.safetensors", seed=3)
    (folder / "Lora").mkdir()
    make_lora(base, folder / "Lora" / "tiny.safetensors", seed=4)
    return folder


@pytest.fixture(scope="session")
def session_host(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    from fastapi.testclient import TestClient

    data, extensions = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("extensions")
    shutil.copytree(HERE / "extensions", extensions, dirs_exist_ok=True)
    grid = extensions / "grid" / "scripts"
    grid.mkdir(parents=True)
    shutil.copy(HERE.parent / "e2e" / "faults" / "scripts" / "dd_grid.py", grid)
    kept = sys.argv, list(sys.path)
    webui = prepare(
        FLAVOUR,
        [
            "--nowebui",
            "--without-self",
            "--threads",
            "1",
            "--skip-load-model-at-start",
            "--data-dir",
            str(data),
            "--ckpt-dir",
            str(model_folder),
            "--lora-dir",
            str(model_folder / "Lora"),
            "--extensions",
            str(extensions),
        ],
    )
    import modules
    from modules import initialize

    initialize.imports()
    app, _ = webui.api_app()
    sys.argv = kept[0]
    yield Host(TestClient(app, raise_server_exceptions=False), modules, sys.modules["recorder_library"], data)
    sys.path[:] = kept[1]


@pytest.fixture(scope="session")
def main_thread(session_host: Host) -> None:
    """Forge's thread for the page's generations: here one of its own, because pytest has the process's main thread."""
    if FLAVOUR == "forge":
        from modules_forge import main_thread

        threading.Thread(target=main_thread.loop, daemon=True, name="page").start()


def page_generate(host: Host, batch: int = 1, **fields: Any) -> tuple[Any, ...]:
    """What the page's button gets: gallery, generation info, infotext and log; `fields` by the request's names."""
    from modules import generate, scripts

    runner = scripts.scripts_txt2img
    arguments = [0, *(x.value for x in runner.inputs[1:])]
    sampler = next(x for x in runner.scripts if x.title() == "Sampler")
    arguments[sampler.args_from : sampler.args_to] = [2, "Euler", "Automatic"]
    values = {"prompt": "a red cat", "negative_prompt": "bad", "n_iter": 1, "batch_size": batch}
    values |= {"cfg_scale": 5.0, "height": 64, "width": 64, "enable_hr": False, "hr_prompt": "", **fields}
    return generate.on_page("txt2img", tuple(values))("task(test)", None, *values.values(), [], *arguments)


def _restore_models(host: Host) -> None:
    from modules import sd_models, shared

    shared.opts.data.clear()
    shared.opts.data["sd_model_checkpoint"] = "base"
    shared.opts.data["lora_in_memory_limit"] = 0
    if FLAVOUR == "forge":
        from modules_forge import main_entry

        main_entry.refresh_model_loading_parameters()
        return
    sd_models.model_data.loaded_sd_models = [x for x in [sd_models.model_data.sd_model] if x is not None]


@pytest.fixture
def host(session_host: Host) -> Iterator[Host]:
    """The host with nothing recorded, no saved settings, and `base` selected."""
    _restore_models(session_host)
    session_host.recorder.events.clear()
    session_host.recorder.actions.clear()
    yield session_host
    session_host.recorder.actions.clear()
    _restore_models(session_host)


@pytest.fixture
def on(host: Host) -> Callable[[str], Callable[[Callable[..., Any]], Callable[..., Any]]]:
    """`@on("process")`: the decorated function runs inside that hook of the recorder."""

    def register(name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        def keep(action: Callable[..., Any]) -> Callable[..., Any]:
            host.recorder.actions[name] = action
            return action

        return keep

    return register
