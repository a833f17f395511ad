"""ControlNet with its picture as it is: no preprocessors, one unit on the page, any number over the API.

Models lie in models/ControlNet of the data folder or in the folder that --controlnet-dir names.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import torch
from backend import memory_management
from backend.nn.controlnet import ControlNet as Network
from backend.patcher.controlnet import ControlNet, apply_controlnet_advanced
from backend.utils import load_torch_file
from modules import paths, script_callbacks, scripts, shared
from modules.api.api import decode_base64_to_image
from modules.ui_components import InputAccordion

_PREFIX = "control_model."


def models() -> dict[str, str]:
    """Files by the names that requests use."""
    own = os.path.join(paths.models_path, "ControlNet")
    folders = [own, *filter(None, [shared.cmd_opts.controlnet_dir])]
    files = [x for folder in folders for x in shared.walk_files(folder, allowed_extensions=[".safetensors", ".pth"])]
    return {Path(file).stem: file for file in files}


@functools.lru_cache(maxsize=1)
def _load(file: str, _changed: float, unet_config: tuple[tuple[str, Any], ...]) -> ControlNet:
    tensors = {k.removeprefix(_PREFIX): v for k, v in load_torch_file(file).items()}
    network = Network(**{name: list(x) if isinstance(x, tuple) else x for name, x in unet_config})
    network.load_state_dict(tensors)
    dtype = memory_management.unet_dtype()
    return ControlNet(network.to(dtype).eval().requires_grad_(False))


def load(name: str, unet: Any) -> ControlNet:
    """A ControlNet for a U-Net's architecture. KeyError for a name that is not listed."""
    file = models()[name]
    config = unet.model.diffusion_model.config
    frozen = tuple((k, tuple(v) if isinstance(v, list) else v) for k, v in sorted(config.items()))
    return _load(file, os.path.getmtime(file), frozen)


def _picture(image: Any, p: Any) -> torch.Tensor:
    """[1, 3, H, W] in 0..1, in the size of the pass."""
    source = decode_base64_to_image(image) if isinstance(image, str) else image
    size = (p.hr_upscale_to_x, p.hr_upscale_to_y) if p.is_hr_pass else (p.width, p.height)
    pixels = np.asarray(source.convert("RGB").resize(size)).astype(np.float32) / 255.0
    return torch.from_numpy(np.moveaxis(pixels, 2, 0))[None]


class ControlNetForForgeOfficial(scripts.Script):
    sorting_priority = 10

    def title(self) -> str:
        return "ControlNet"

    def show(self, is_img2img: bool) -> object:
        return scripts.AlwaysVisible

    def ui(self, is_img2img: bool) -> tuple[Any, ...]:
        with InputAccordion(False, label="ControlNet", elem_id=self.elem_id("enable")) as enabled:
            image = gr.Image(label="Picture", type="pil", elem_id=self.elem_id("image"))
            model = gr.Dropdown(label="Model", choices=["None", *models()], value="None", elem_id=self.elem_id("model"))
            weight = gr.Slider(label="Control Weight", minimum=0.0, maximum=2.0, step=0.05, value=1.0)
        return enabled, image, model, weight

    def _units(self, args: Any) -> list[dict[str, Any]]:
        if args and isinstance(args[0], dict):
            return [unit for unit in args if isinstance(unit, dict) and unit.get("enabled", True)]
        enabled, image, model, weight = args
        return [{"image": image, "model": model, "weight": weight}] if enabled else []

    def process_before_every_sampling(self, p: Any, *args: Any, **kwargs: Any) -> None:
        for unit in self._units(args):
            unet = p.sd_model.forge_objects.unet
            control = load(unit["model"], unet)
            start, end = unit.get("guidance_start", 0.0), unit.get("guidance_end", 1.0)
            picture = _picture(unit["image"], p)
            p.sd_model.forge_objects.unet = apply_controlnet_advanced(
                unet, control, picture, float(unit.get("weight", 1.0)), float(start), float(end)
            )


def add_routes(_: Any, app: Any) -> None:
    @app.get("/controlnet/model_list")
    async def model_list() -> dict[str, list[str]]:
        return {"model_list": list(models())}


script_callbacks.on_app_started(add_routes)
