"""Forge's built-in extensions that guide with the unconditional half, played where a host of its kind lacks them.

Their titles, when they keep away, and what they ask of the host are theirs; what they do to the image is not.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import gradio as gr
from modules import paths_internal, scripts

_PLAYED = (
    importlib.util.find_spec("backend") is not None
    and not (Path(paths_internal.extensions_builtin_dir) / "sd_forge_sag").exists()
)


class _Guidance:
    """No script itself, for hosts register every subclass that they find."""

    heading = ""

    def title(self) -> str:
        return self.heading

    def show(self, is_img2img: bool) -> object:
        return scripts.AlwaysVisible

    def ui(self, is_img2img: bool) -> list[Any]:
        return [gr.Checkbox(value=False, visible=False, label=f"{self.heading} enabled")]

    def process_before_every_sampling(self, p: Any, enabled: bool, *_args: Any, **_kwargs: Any) -> None:
        if enabled and self.stays(p):
            p.sd_model.forge_objects.unet = unet = p.sd_model.forge_objects.unet.clone()
            self.patch(unet)

    def stays(self, p: Any) -> bool:
        return True

    def patch(self, unet: Any) -> None:
        raise NotImplementedError


if _PLAYED:

    class SelfAttention(_Guidance, scripts.Script):
        heading = "SelfAttentionGuidance Integrated (SD 1.x, SD 2.x, SDXL)"

        def stays(self, p: Any) -> bool:
            return (p.hr_cfg if p.is_hr_pass else p.cfg_scale) > 1

        def patch(self, unet: Any) -> None:
            def moved(args: dict[str, Any]) -> Any:
                return args["denoised"] + 0.1 * (args["cond_denoised"] - args["uncond_denoised"])

            unet.set_model_sampler_post_cfg_function(moved, disable_cfg1_optimization=True)

    class Thresholding(_Guidance, scripts.Script):
        heading = "DynamicThresholding (CFG-Fix) Integrated"

        def patch(self, unet: Any) -> None:
            unet.set_model_sampler_cfg_function(lambda args: args["uncond"] + 0.9 * (args["cond"] - args["uncond"]))
