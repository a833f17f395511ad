"""Sampler, schedule and steps."""

from __future__ import annotations

from typing import Any

import gradio as gr
from modules import scripts, sd_samplers, sd_schedulers
from modules.infotext_utils import PasteField
from modules.ui_components import FormRow


class ScriptSampler(scripts.ScriptBuiltinUI):
    section = "sampler"

    def title(self) -> str:
        return "Sampler"

    def ui(self, is_img2img: bool) -> tuple[Any, ...]:
        def choice(label: str, name: str, choices: list[str]) -> Any:
            return gr.Dropdown(label=label, elem_id=f"{self.tabname}_{name}", choices=choices, value=choices[0])

        with FormRow():
            sampler = choice("Sampling method", "sampling", sd_samplers.visible_sampler_names())
            schedule = choice("Schedule type", "scheduler", [known.label for known in sd_schedulers.schedulers])
            steps = gr.Slider(1, 150, 20, step=1, label="Sampling steps", elem_id=f"{self.tabname}_steps")
        self.infotext_fields = [
            PasteField(steps, "Steps", api="steps"),
            PasteField(sampler, sd_samplers.get_sampler_from_infotext, api="sampler_name"),
            PasteField(schedule, sd_samplers.get_scheduler_from_infotext, api="scheduler"),
        ]
        return steps, sampler, schedule

    def setup(self, p: Any, *args: Any) -> None:
        p.steps, p.sampler_name, p.scheduler = args
