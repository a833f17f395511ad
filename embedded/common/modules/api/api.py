"""The routes below /sdapi/v1. Annotations are not postponed here: FastAPI reads those of the routes, and the request
models are made at run time.
"""

import time
from contextlib import closing
from secrets import compare_digest
from typing import Any, Optional

from fastapi import APIRouter, Depends, FastAPI, Response
from fastapi.exceptions import HTTPException
from fastapi.security import HTTPBasic, HTTPBasicCredentials

from modules import (
    flavour_server,
    images,
    infotext_utils,
    model_handling,
    processing_result,
    script_callbacks,
    scripts,
    sd_models,
    sd_samplers,
    shared,
    shared_items,
    ui,
)
from modules.api import api_scripts, models
from modules.api.api_images import decode_base64_to_image, encode_pil_to_base64
from modules.api.api_lists import ListsApi
from modules.processing import StableDiffusionProcessingImg2Img, StableDiffusionProcessingTxt2Img, process_images
from modules.progress import add_task_to_queue, create_task_id, finish_task, start_task
from modules.shared import opts

_NOT_FOR_PROCESSING = (
    "script_name",
    "script_args",
    "alwayson_scripts",
    "infotext",
    "include_init_images",
    "send_images",
    "save_images",
)


def validate_sampler_name(name: str) -> str:
    if name in sd_samplers.all_samplers_map:
        return name
    raise HTTPException(400, "Sampler not found")


class Api(ListsApi):
    def __init__(self, app: FastAPI, queue_lock: Any) -> None:
        self.credentials: dict[str, str] = {}
        if shared.cmd_opts.api_auth:
            self.credentials = dict(auth.split(":", 1) for auth in shared.cmd_opts.api_auth.split(","))
        self.router = APIRouter()
        self.app = app
        self.queue_lock = queue_lock
        flavour_server.setup_errors(self.app)
        self._add_routes()
        runners = (scripts.scripts_txt2img, scripts.scripts_img2img)
        if not all(runner.scripts for runner in runners):
            ui.create_ui()
        self.default_script_arg_txt2img = api_scripts.init_default_script_args(runners[0])
        self.default_script_arg_img2img = api_scripts.init_default_script_args(runners[1])

    def _add_routes(self) -> None:
        get, post = ["GET"], ["POST"]
        routes: list[tuple[str, Any, list[str], Any]] = [
            ("txt2img", self.text2imgapi, post, models.TextToImageResponse),
            ("img2img", self.img2imgapi, post, models.ImageToImageResponse),
            ("png-info", self.pnginfoapi, post, models.PNGInfoResponse),
            ("progress", self.progressapi, get, models.ProgressResponse),
            ("interrupt", self.interruptapi, post, None),
            ("skip", self.skip, post, None),
            ("options", self.get_config, get, models.OptionsModel),
            ("options", self.set_config, post, None),
            ("cmd-flags", self.get_cmd_flags, get, None),
            ("samplers", self.get_samplers, get, list[models.SamplerItem]),
            ("schedulers", self.get_schedulers, get, list[models.SchedulerItem]),
            ("upscalers", self.get_upscalers, get, list[models.UpscalerItem]),
            ("latent-upscale-modes", self.get_latent_upscale_modes, get, list[models.LatentUpscalerModeItem]),
            ("sd-models", self.get_sd_models, get, list[models.SDModelItem]),
            (model_handling.VAE_ROUTE, self.get_sd_vaes, get, list[models.SDVaeItem]),
            ("prompt-styles", self.get_prompt_styles, get, list[models.PromptStyleItem]),
            ("embeddings", self.get_embeddings, get, models.EmbeddingsResponse),
            ("refresh-embeddings", self.refresh_embeddings, post, None),
            ("refresh-checkpoints", self.refresh_checkpoints, post, None),
            ("refresh-vae", self.refresh_vae, post, None),
            ("memory", self.get_memory, get, models.MemoryResponse),
            ("unload-checkpoint", self.unloadapi, post, None),
            ("reload-checkpoint", self.reloadapi, post, None),
            ("scripts", self.get_scripts_list, get, models.ScriptsList),
            ("script-info", self.get_script_info, get, list[models.ScriptInfo]),
            ("extensions", self.get_extensions_list, get, list[models.ExtensionItem]),
        ]
        if shared.cmd_opts.api_server_stop:
            routes += [("server-restart", self.restart_webui, post, None), ("server-stop", self.stop_webui, post, None)]
        for path, endpoint, methods, answer in routes:
            extra = {} if answer is None else {"response_model": answer}
            self.add_api_route(f"/sdapi/v1/{path}", endpoint, methods=methods, **extra)

    def add_api_route(self, path: str, endpoint: Any, **kwargs: Any) -> Any:
        guard = {"dependencies": [Depends(self.auth)]} if shared.cmd_opts.api_auth else {}
        return self.app.add_api_route(path, endpoint, **{**kwargs, **guard})

    def auth(self, credentials: HTTPBasicCredentials = Depends(HTTPBasic())) -> bool:  # noqa: B008
        known = self.credentials.get(credentials.username)
        if known is not None and compare_digest(credentials.password, known):
            return True
        raise HTTPException(
            status_code=401, detail="Incorrect username or password", headers={"WWW-Authenticate": "Basic"}
        )

    def _prepare(
        self, req: Any, tab: str, defaults: list[Any], runner: Any, **more: Any
    ) -> tuple[dict[str, Any], list[Any], Any]:
        """Arguments of the processing class, script arguments, and the script selected, if one is."""
        mentioned: dict[int, Any] = {}
        api_scripts.apply_infotext(req, tab, script_runner=runner, mentioned_script_args=mentioned)
        selectable, index = api_scripts.get_selectable_script(req.script_name, runner)
        sampler, scheduler = sd_samplers.get_sampler_and_scheduler(req.sampler_name or req.sampler_index, req.scheduler)
        settled = {"sampler_name": validate_sampler_name(sampler), "sampler_index": None, **more}
        settled |= dict.fromkeys(("do_not_save_samples", "do_not_save_grid"), not req.save_images)
        if scheduler != "Automatic" and not req.scheduler:  # an old name such as "Euler Karras" holds both
            settled["scheduler"] = scheduler
        fields = {**vars(req), **settled}
        args = {name: value for name, value in fields.items() if name not in _NOT_FOR_PROCESSING}
        script_args = api_scripts.init_script_args(
            req, defaults, selectable, index, runner, input_script_args=mentioned
        )
        return args, script_args, selectable

    def _run(self, p: Any, runner: Any, script_args: list[Any], selectable: Any, job: str, task_id: str) -> Any:
        p.is_api = True
        p.scripts = runner
        tab = job.removeprefix("scripts_")
        p.outpath_grids = getattr(opts, f"outdir_{tab}_grids")
        p.outpath_samples = getattr(opts, f"outdir_{tab}_samples")
        try:
            shared.state.begin(job=job)
            start_task(task_id)
            if selectable is not None:
                p.script_args = script_args
                processed = runner.run(p, *p.script_args)
            else:
                p.script_args = tuple(script_args)
                processed = process_images(p)
            processing_result.process_extra_images(processed)
            finish_task(task_id)
            return processed
        finally:
            shared.state.end()
            shared.total_tqdm.clear()

    def _encoded(self, processed: Any, req: Any) -> list[Any]:
        return list(map(encode_pil_to_base64, processing_result.shown(processed))) if req.send_images else []

    def text2imgapi(self, txt2imgreq: models.StableDiffusionTxt2ImgProcessingAPI) -> Any:  # type: ignore[valid-type]
        req: Any = txt2imgreq
        task_id = req.force_task_id or create_task_id("txt2img")
        runner = scripts.scripts_txt2img
        args, script_args, selectable = self._prepare(req, "txt2img", self.default_script_arg_txt2img, runner)
        add_task_to_queue(task_id)
        with self.queue_lock, closing(StableDiffusionProcessingTxt2Img(sd_model=shared.sd_model, **args)) as p:
            processed = self._run(p, runner, script_args, selectable, "scripts_txt2img", task_id)
        b64images = self._encoded(processed, req)
        return models.TextToImageResponse(images=b64images, parameters=vars(req), info=processed.js())

    def img2imgapi(self, img2imgreq: models.StableDiffusionImg2ImgProcessingAPI) -> Any:  # type: ignore[valid-type]
        req: Any = img2imgreq
        task_id = req.force_task_id or create_task_id("img2img")
        if req.init_images is None:
            raise HTTPException(404, "Init image not found")
        mask = decode_base64_to_image(req.mask) if req.mask else req.mask
        runner = scripts.scripts_img2img
        args, script_args, selectable = self._prepare(
            req, "img2img", self.default_script_arg_img2img, runner, mask=mask
        )
        add_task_to_queue(task_id)
        with self.queue_lock, closing(StableDiffusionProcessingImg2Img(sd_model=shared.sd_model, **args)) as p:
            p.init_images = [decode_base64_to_image(x) for x in req.init_images]
            processed = self._run(p, runner, script_args, selectable, "scripts_img2img", task_id)
        b64images = self._encoded(processed, req)
        if not req.include_init_images:
            req.init_images = None
            req.mask = None
        return models.ImageToImageResponse(images=b64images, parameters=vars(req), info=processed.js())

    def pnginfoapi(self, req: models.PNGInfoRequest) -> Any:
        geninfo, items = images.read_info_from_image(decode_base64_to_image(req.image.strip()))
        params = infotext_utils.parse_generation_parameters(geninfo or "")
        script_callbacks.infotext_pasted_callback(geninfo or "", params)
        return models.PNGInfoResponse(info=geninfo or "", items=items, parameters=params)

    def progressapi(self, req: models.ProgressRequest = Depends()) -> Any:  # noqa: B008
        state = shared.state
        if state.job_count == 0:
            return models.ProgressResponse(progress=0, eta_relative=0, state=state.dict(), textinfo=state.textinfo)
        progress = 0.01 + (state.job_no / state.job_count if state.job_count > 0 else 0)
        if state.sampling_steps > 0:
            progress += 1 / state.job_count * state.sampling_step / state.sampling_steps
        elapsed = time.time() - state.time_start
        eta_relative = elapsed / progress - elapsed
        state.set_current_image()
        image = (
            encode_pil_to_base64(state.current_image) if state.current_image and not req.skip_current_image else None
        )
        return models.ProgressResponse(
            progress=min(progress, 1),
            eta_relative=eta_relative,
            state=state.dict(),
            current_image=image,
            textinfo=state.textinfo,
        )

    def interruptapi(self) -> dict[str, Any]:
        shared.state.interrupt()
        return {}

    def unloadapi(self) -> dict[str, Any]:
        sd_models.unload_model_weights()
        return {}

    def reloadapi(self) -> dict[str, Any]:
        sd_models.send_model_to_device(shared.sd_model)
        return {}

    def skip(self) -> None:
        shared.state.skip()

    def get_config(self) -> dict[str, Any]:
        return dict(opts.data)

    def set_config(self, req: dict[str, Any]) -> None:
        model_handling.set_config(req)

    def refresh_embeddings(self) -> None:
        with self.queue_lock:
            model_handling.reload_embeddings()

    def refresh_checkpoints(self) -> None:
        with self.queue_lock:
            shared.refresh_checkpoints()

    def refresh_vae(self) -> None:
        with self.queue_lock:
            shared_items.refresh_vae_list()

    def launch(self, server_name: Optional[str], port: int, root_path: str) -> None:
        import uvicorn

        self.app.include_router(self.router)
        uvicorn.run(
            self.app,
            host=server_name or "127.0.0.1",
            port=port,
            timeout_keep_alive=shared.cmd_opts.timeout_keep_alive,
            root_path=root_path,
            log_level="warning",
        )

    def restart_webui(self) -> Response:
        shared.state.server_command = "restart"
        return Response("Restarting.")

    def stop_webui(self) -> Response:
        shared.state.server_command = "stop"
        return Response("Stopping.")
