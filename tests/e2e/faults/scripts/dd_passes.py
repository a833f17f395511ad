"""Test support, loaded by a WebUI as an extension: scripts that make several generations of one request, as the hosts'
own and other extensions do.

Chosen from the list of scripts, "DD passes" processes the request's own object again and again (Loopback, SD upscale,
Outpainting, Ultimate SD Upscale), and "DD batch" does what the img2img tab's Batch does. "DD inner", always on, paints
in the finished images by requests of its own (ADetailer).
"""

from __future__ import annotations

import base64
import io
import json
import tempfile
from copy import copy
from pathlib import Path
from typing import Any

import gradio as gr
from modules import img2img, processing, script_callbacks, scripts
from PIL import Image


def _picture(text: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(text))).convert("RGB")


class Passes(scripts.Script):
    def title(self) -> str:
        return "DD passes"

    def ui(self, is_img2img: bool) -> list[Any]:
        return [gr.Textbox(label="What each pass changes, as a JSON list of dicts of fields", value="[{}]")]

    def run(self, p: Any, passes: str) -> Any:
        """`init_images` and `image_mask` are pictures in base64, or "last" for what the pass before has made."""
        processing.fix_seed(p)
        p.do_not_save_grid = True
        made: list[Any] = []
        for fields in json.loads(passes):
            for name, value in fields.items():
                setattr(p, name, self._value(name, value, made))
            made.append(processing.process_images(p))
        images = [image for one in made for image in one.images]
        result = processing.Processed(p, images, made[0].seed, made[0].info)
        result.infotexts = [text for one in made for text in one.infotexts]
        result.comments = str({name: getattr(p, name) for name in _LOOKED_AT})
        _SEEN.update(settings=result.comments, methods=sorted(name for name in _METHODS if name in vars(p)))
        return result

    @staticmethod
    def _value(name: str, value: Any, made: list[Any]) -> Any:
        if name == "init_images":
            return [made[-1].images[0] if value == "last" else _picture(value)]
        return _picture(value).convert("L") if name == "image_mask" and value is not None else value


_LOOKED_AT = ("steps", "cfg_scale", "sampler_name", "scheduler", "sampler_noise_scheduler_override")
_METHODS = ("sample", "setup_conds", "calculate_hr_conds", "sample_hr_pass", "close")
_SEEN: dict[str, Any] = {}


class Batch(scripts.Script):
    """The Batch of a real host's img2img tab, which has no address in its API."""

    def title(self) -> str:
        return "DD batch"

    def show(self, is_img2img: bool) -> object:
        return is_img2img and hasattr(img2img, "process_batch")

    def ui(self, is_img2img: bool) -> list[Any]:
        return [gr.Textbox(label="Pictures in base64, a JSON list"), gr.Textbox(label="Their infotexts' names to use")]

    def run(self, p: Any, pictures: str, names: str) -> Any:
        with tempfile.TemporaryDirectory() as folder:
            for number, text in enumerate(json.loads(pictures)):
                (Path(folder) / f"{number}.png").write_bytes(base64.b64decode(text))
            wanted = json.loads(names)
            return img2img.process_batch(p, folder, "", "", [0], use_png_info=bool(wanted), png_info_props=wanted)


class Inner(scripts.Script):
    def title(self) -> str:
        return "DD inner"

    def show(self, is_img2img: bool) -> object:
        return scripts.AlwaysVisible

    def ui(self, is_img2img: bool) -> list[Any]:
        return [gr.JSON(value={}, visible=False, label="inner")]

    def postprocess_image(self, p: Any, pp: Any, inner: Any) -> None:
        """One dict: "scripts", files whose scripts take part; "paint", false to only call the others' hooks."""
        if not isinstance(inner, dict) or not inner or getattr(p, "dd_inner", False):
            return
        prompts = list(p.all_prompts), list(p.all_negative_prompts)
        if p.batch_index == 0:
            p.scripts.postprocess(copy(p), processing.Processed(p, [], p.seed, ""))
        if inner.get("paint", True):
            pp.image = self._painted(p, pp.image, inner.get("scripts", ()))
        if p.batch_index == p.batch_size - 1:
            other = copy(p)
            p.scripts.before_process(other)
            p.scripts.process(other)
        p.all_prompts, p.all_negative_prompts = prompts

    def _painted(self, p: Any, image: Image.Image, wanted: Any) -> Image.Image:
        number = p.iteration * p.batch_size + p.batch_index
        mask = Image.new("L", image.size)
        mask.paste(255, (16, 16, 48, 48))
        request = processing.StableDiffusionProcessingImg2Img(
            init_images=[image],
            mask=mask,
            mask_blur=2,
            inpainting_fill=1,
            inpaint_full_res=False,
            denoising_strength=0.6,
            prompt=p.all_prompts[number],
            negative_prompt=p.all_negative_prompts[number],
            seed=p.all_seeds[number],
            subseed=p.all_subseeds[number],
            width=p.width,
            height=p.height,
            do_not_save_samples=True,
            do_not_save_grid=True,
            extra_generation_params={k: v for k, v in p.extra_generation_params.items() if not callable(v)},
            **{name: getattr(p, name) for name in _LOOKED_AT[:4]},
        )
        runner = copy(p.scripts)
        runner.alwayson_scripts = [x for x in runner.alwayson_scripts if Path(x.filename).stem in wanted]
        request.scripts, request.script_args = runner, [copy(argument) for argument in p.script_args]
        request.dd_inner = True
        one = copy(request)
        try:
            made = processing.process_images(one)
        finally:
            one.close()
        _SEEN["inner"] = made.infotexts[0]
        return made.images[0]


def _add_route(_blocks: Any, app: Any) -> None:
    app.add_api_route("/dd-faults/passes", lambda: dict(_SEEN), methods=["GET"])


script_callbacks.on_app_started(_add_route)
