"""The routes below /sdapi/v1. Annotations are not postponed: FastAPI reads them."""

import base64
import io
import secrets
import time
from contextlib import closing
from typing import Any

import gradio as gr
from fastapi import Depends, FastAPI
from fastapi.exceptions import HTTPException
from fastapi.middleware.gzip import GZipMiddleware
from fastapi.security import HTTPBasic, HTTPBasicCredentials

from modules import (
    flavour_server,
    images,
    infotext_utils,
    model_handling,
    processed,
    processing,
    progress,
    script_callbacks,
    scripts,
    sd_models,
    sd_samplers,
    sd_schedulers,
    shared,
    ui,
)
from modules.api import requests, script_arguments
from modules.shared import cmd_opts, opts

_PLAIN_OPTIONS = gr.__version__ >= "4"
"""Whether samplers' options are told as they are, or as text."""
_CHECKPOINT_KEYS = {name: name for name in ("title", "filename", "sha256", "model_name")} | {"hash": "shorthash"}
"""What clients read of a checkpoint -> what the host calls it."""


def middleware() -> list[tuple[Any, dict[str, Any]]]:
    """What lies around every request: compression."""
    return [(GZipMiddleware, {"minimum_size": 1000})]


def decode_base64_to_image(encoding: str) -> Any:
    """The picture; HTTPException 500 for what is none."""
    try:
        return images.read(io.BytesIO(base64.b64decode(encoding.rpartition("base64,")[2])))
    except Exception as fault:
        raise HTTPException(500, "Invalid encoded image") from fault


def _encoded(image: Any) -> str:
    """In the settings' format; text is one already."""
    if isinstance(image, str):
        return image
    if opts.samples_format == "png":
        return base64.b64encode(images.to_bytes(image)).decode()
    out = io.BytesIO()
    image.convert("RGB").save(out, {"jpg": "JPEG"}.get(opts.samples_format, opts.samples_format))
    return base64.b64encode(out.getvalue()).decode()


class Api:
    def __init__(self, app: FastAPI, queue_lock: Any) -> None:
        self.app, self.queue_lock = app, queue_lock
        self._passwords = dict(pair.split(":", 1) for pair in (cmd_opts.api_auth or "").split(",") if pair)
        flavour_server.setup_errors(app)
        if not scripts.scripts_txt2img.scripts:
            ui.create_ui()
        self._runners = {"txt2img": scripts.scripts_txt2img, "img2img": scripts.scripts_img2img}
        self._defaults = {tab: script_arguments.defaults(runner) for tab, runner in self._runners.items()}
        ask = (self.progress, self.options, self.samplers, self.schedulers, self.sd_models, self.embeddings)
        for route in (*ask, self.scripts, self.script_info, self.cmd_flags):
            self._add(route, "GET")
        do = (self.txt2img, self.img2img, self.png_info, self.interrupt, self.set_options, self.refresh_checkpoints)
        ends = (self.server_restart, self.server_stop) if cmd_opts.api_server_stop else ()
        for route in (*do, self.unload_checkpoint, self.reload_checkpoint, *ends):
            self._add(route, "POST")

    def _add(self, route: Any, method: str) -> None:
        path = route.__name__.removeprefix("set_").replace("_", "-")
        guard = [Depends(self._known)] if self._passwords else []
        self.app.add_api_route(f"/sdapi/v1/{path}", route, methods=[method], dependencies=guard)

    def _known(self, credentials: HTTPBasicCredentials = Depends(HTTPBasic())) -> None:  # noqa: B008
        password = self._passwords.get(credentials.username, "")
        if not password or not secrets.compare_digest(password.encode(), credentials.password.encode()):
            raise HTTPException(401, "Incorrect username or password", {"WWW-Authenticate": "Basic"})

    def txt2img(self, request: requests.TextToImage) -> dict[str, Any]:  # type: ignore[valid-type]
        return self._generate("txt2img", request)

    def img2img(self, request: requests.ImageToImage) -> dict[str, Any]:  # type: ignore[valid-type]
        if request.init_images is None:
            raise HTTPException(404, "Init image not found")
        mask = decode_base64_to_image(request.mask) if request.mask else None
        pictures = [decode_base64_to_image(text) for text in request.init_images]
        answer = self._generate("img2img", request, mask=mask, init_images=pictures)
        if not request.include_init_images:
            answer["parameters"] |= {"init_images": None, "mask": None}
        return answer

    def _generate(self, tab: str, request: Any, **pictures: Any) -> dict[str, Any]:
        runner, kind = self._runners[tab], requests.KINDS[tab]
        pasted = script_arguments.apply_infotext(request, tab, runner)
        arguments = script_arguments.settled(request, self._defaults[tab], pasted, runner)
        fields = {**requests.of_processing(request), **_sampler(request), **pictures}
        task = request.force_task_id or progress.create_task_id(tab)
        progress.add_task_to_queue(task)
        with self.queue_lock, closing(kind(sd_model=shared.sd_model, **fields)) as p:
            p.is_api, p.scripts, p.script_args = True, runner, tuple(arguments)
            p.outpath_samples = getattr(opts, f"outdir_{tab}_samples")
            p.outpath_grids = getattr(opts, f"outdir_{tab}_grids")
            progress.start_task(task)
            shared.state.begin(job=f"scripts_{tab}")
            try:
                made = runner.run(p, *arguments) or processing.process_images(p)
            finally:
                progress.finish_task(task)
                shared.state.end()
        shown = processed.shown(made) if request.send_images else []
        return {"images": [_encoded(image) for image in shown], "parameters": dict(request), "info": made.js()}

    def png_info(self, request: requests.Picture) -> dict[str, Any]:
        infotext, items = images.read_info_from_image(decode_base64_to_image(request.image))
        parameters = infotext_utils.parse_generation_parameters(infotext or "")
        script_callbacks.infotext_pasted_callback(infotext or "", parameters)
        return {"info": infotext or "", "items": items, "parameters": parameters}

    def progress(self, skip_current_image: bool = False) -> dict[str, Any]:
        state = shared.state
        done = state.fraction()
        remaining = (time.time() - state.time_start) * (1 / done - 1) if done else 0.0
        state.set_current_image()
        is_shown = state.current_image is not None and not skip_current_image
        told = {"progress": done, "eta_relative": remaining, "state": state.dict(), "textinfo": state.textinfo}
        return {**told, "current_image": _encoded(state.current_image) if is_shown else None}

    def interrupt(self) -> None:
        shared.state.interrupt()

    def options(self) -> dict[str, Any]:
        return {name: getattr(opts, name) for name in opts.data_labels}

    def set_options(self, settings: dict[str, Any]) -> None:
        model_handling.set_config(settings)

    def samplers(self) -> list[dict[str, Any]]:
        def told(options: dict[str, Any]) -> dict[str, Any]:
            return options if _PLAIN_OPTIONS else {name: str(value) for name, value in options.items()}

        return [{"name": x.name, "aliases": x.aliases, "options": told(x.options)} for x in sd_samplers.all_samplers]

    def schedulers(self) -> list[dict[str, Any]]:
        return [{"name": known.name, "label": known.label} for known in sd_schedulers.schedulers]

    def sd_models(self) -> list[dict[str, Any]]:
        listed = sd_models.checkpoints_list.values()
        return [{key: getattr(info, name) for key, name in _CHECKPOINT_KEYS.items()} for info in listed]

    def embeddings(self) -> dict[str, Any]:
        return {"loaded": {}, "skipped": {}}

    def scripts(self) -> dict[str, list[str]]:
        return {tab: [x.name for x in runner.scripts if x.name] for tab, runner in self._runners.items()}

    def script_info(self) -> list[dict[str, Any]]:
        known = [script for runner in self._runners.values() for script in runner.scripts]
        return [script_arguments.described(script) for script in known if script.controls]

    def cmd_flags(self) -> dict[str, Any]:
        return vars(cmd_opts)

    def refresh_checkpoints(self) -> None:
        with self.queue_lock:
            sd_models.list_models()

    def unload_checkpoint(self) -> None:
        sd_models.unload_model_weights()

    def reload_checkpoint(self) -> None:
        sd_models.send_model_to_device(shared.sd_model)

    def server_restart(self) -> None:
        shared.state.command("restart")

    def server_stop(self) -> None:
        shared.state.command("stop")


def _sampler(request: Any) -> dict[str, Any]:
    """An unknown name becomes the first sampler's; an old one such as "Euler Karras" is two."""
    asked = request.sampler_name or request.sampler_index or "Euler"
    name, schedule = sd_samplers.get_sampler_and_scheduler(asked, request.scheduler)
    return {"sampler_name": name, **({} if request.scheduler or schedule == "Automatic" else {"scheduler": schedule})}
