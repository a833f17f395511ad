"""Test support, loaded by a WebUI as an extension: a neighbour that puts itself into the sampler as tiling ones do.

Sent as `alwayson_scripts: {"DD tiles": {"args": [WHERE]}}`. While the request runs, the host's `create_sampler` is a
function of this script, which hooks what it makes and makes it once: asked for the same name it hands out the sampler
that it has, asked for another it takes itself back. WHERE: "inner" hooks the denoiser's inner model, "denoiser" the
denoiser. How often the hook was called stands in the infotext.
"""

from __future__ import annotations

from typing import Any

import gradio as gr
from modules import scripts, sd_samplers


class Tiles(scripts.Script):
    original: Any = None
    made: Any = None
    calls = 0

    def title(self) -> str:
        return "DD tiles"

    def show(self, is_img2img: bool) -> object:
        return scripts.AlwaysVisible

    def ui(self, is_img2img: bool) -> list[Any]:
        return [gr.Textbox(value="", visible=False, label="tiles")]

    def process(self, p: Any, where: Any) -> None:
        self.reset()
        if where in ("inner", "denoiser"):
            Tiles.original = sd_samplers.create_sampler
            sd_samplers.create_sampler = lambda name, model: self.create(name, model, p, where)

    def create(self, name: str, model: Any, p: Any, where: str) -> Any:
        if self.made is not None:
            if self.made[0] == name:
                return self.made[1]
            self.reset()
        sampler = Tiles.original(name, model)
        denoiser = sampler.model_wrap_cfg
        hooked = denoiser.inner_model if where == "inner" else denoiser
        forward = hooked.forward

        def tiled(*args: Any, **kwargs: Any) -> Any:
            Tiles.calls += 1
            p.extra_generation_params["DD tiles"] = Tiles.calls
            return forward(*args, **kwargs) * 0.95

        hooked.forward = tiled
        Tiles.made = name, sampler
        return sampler

    def postprocess(self, p: Any, processed: Any, where: Any) -> None:
        self.reset()

    def reset(self) -> None:
        if Tiles.original is not None:
            sd_samplers.create_sampler = Tiles.original
        Tiles.original, Tiles.made, Tiles.calls = None, None, 0
