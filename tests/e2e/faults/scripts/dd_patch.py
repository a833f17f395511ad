"""Test support, loaded by a WebUI as an extension: neighbours that change Forge's U-Net as FreeU or a ControlNet does.

Sent as `alwayson_scripts: {"DD patch": {"args": [WHAT, START, END]}}`, over a share of the schedule (0 is the highest
noise). WHAT: "patch" scales what comes to the output blocks, "control" adds to their skips.
"""

from __future__ import annotations

import importlib.util
from typing import Any

import gradio as gr
import torch
from modules import scripts

if importlib.util.find_spec("backend") is not None:
    from backend.patcher.controlnet import ControlBase

    class Control(ControlBase):
        acts: Any = None

        def get_control(self, x_noisy: Any, t: Any, cond: Any, batched_number: int) -> Any:
            added = 0.3 if self.acts(t[0]) else 0.0
            return {"input": [], "middle": [], "output": [torch.tensor(added).to(x_noisy)] * 3}

    class Patch(scripts.Script):
        def title(self) -> str:
            return "DD patch"

        def show(self, is_img2img: bool) -> object:
            return scripts.AlwaysVisible

        def ui(self, is_img2img: bool) -> list[Any]:
            return [gr.Textbox(visible=False), gr.Number(0.0, visible=False), gr.Number(1.0, visible=False)]

        def process_before_every_sampling(self, p: Any, what: str, start: float, end: float, **_kwargs: Any) -> None:
            if what not in ("patch", "control"):
                return
            p.sd_model.forge_objects.unet = unet = p.sd_model.forge_objects.unet.clone()
            highest, lowest = map(unet.model.predictor.percent_to_sigma, (start, end))

            def acts(sigma: Any) -> bool:
                return bool(lowest <= sigma <= highest)

            if what == "control":
                control = Control()
                control.acts = acts
                unet.add_patched_controlnet(control)
            else:
                unet.set_model_output_block_patch(
                    lambda h, skip, options: (h * (1.5 if acts(options["sigmas"][0]) else 1.0), skip)
                )
