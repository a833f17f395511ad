"""Kohya's HRFix: features are shrunk at one input block, and brought back at the output, in a part of the schedule."""

from __future__ import annotations

from typing import Any

import gradio as gr
import torch
import torch.nn.functional as F
from modules import scripts
from modules.ui_components import InputAccordion

_METHODS = ["bicubic", "nearest-exact", "bilinear", "area"]
_NAMES = (
    *("block_number", "downscale_factor", "start_percent", "end_percent"),
    *("downscale_after_skip", "downscale_method", "upscale_method"),
)


def _patched(unet: Any, options: dict[str, Any]) -> Any:
    to_sigma = unet.model.predictor.percent_to_sigma
    highest, lowest = to_sigma(options["start_percent"]), to_sigma(options["end_percent"])

    def shrink(h: torch.Tensor, transformer_options: dict[str, Any]) -> torch.Tensor:
        sigma = transformer_options["sigmas"][0].item()
        if transformer_options["block"][1] != int(options["block_number"]) or not lowest <= sigma <= highest:
            return h
        size = [round(side / options["downscale_factor"]) for side in h.shape[-2:]]
        return F.interpolate(h, size=size, mode=options["downscale_method"])

    def grow(h: torch.Tensor, skip: torch.Tensor, transformer_options: Any) -> tuple[torch.Tensor, torch.Tensor]:
        if h.shape[2] != skip.shape[2]:
            h = F.interpolate(h, size=skip.shape[-2:], mode=options["upscale_method"])
        return h, skip

    patched = unet.clone()
    after = options["downscale_after_skip"]
    (patched.set_model_input_block_patch_after_skip if after else patched.set_model_input_block_patch)(shrink)
    patched.set_model_output_block_patch(grow)
    return patched


class KohyaHRFixForForge(scripts.Script):
    sorting_priority = 14

    def title(self) -> str:
        return "Kohya HRFix Integrated"

    def show(self, is_img2img: bool) -> object:
        return scripts.AlwaysVisible

    def ui(self, is_img2img: bool) -> tuple[Any, ...]:
        with InputAccordion(False, label=self.title(), elem_id=self.elem_id("enable")) as enabled:
            parts = (
                gr.Slider(label="Block Number", value=3, minimum=1, maximum=32, step=1),
                gr.Slider(label="Downscale Factor", value=2.0, minimum=0.1, maximum=9.0, step=0.001),
                gr.Slider(label="Start Percent", value=0.0, minimum=0.0, maximum=1.0, step=0.001),
                gr.Slider(label="End Percent", value=0.35, minimum=0.0, maximum=1.0, step=0.001),
                gr.Checkbox(label="Downscale After Skip", value=True),
                gr.Dropdown(label="Downscale Method", choices=_METHODS, value=_METHODS[0]),
                gr.Dropdown(label="Upscale Method", choices=_METHODS, value=_METHODS[0]),
            )
        return (enabled, *parts)

    def process_before_every_sampling(self, p: Any, *script_args: Any, **kwargs: Any) -> None:
        enabled, *values = script_args
        if not enabled:
            return
        options = dict(zip(_NAMES, values, strict=True))
        p.sd_model.forge_objects.unet = _patched(p.sd_model.forge_objects.unet, options)
        notes = {f"kohya_hrfix_{name}": value for name, value in options.items()}
        p.extra_generation_params.update({"kohya_hrfix_enabled": True, **notes})
