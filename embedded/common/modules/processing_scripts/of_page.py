"""Parts of the page that are built as scripts: sampler with steps, and the seed."""

from __future__ import annotations

from typing import Any

import gradio as gr
from modules import scripts, sd_samplers, sd_schedulers, ui_common
from modules.infotext_utils import PasteField
from modules.ui_components import FormRow, ToolButton


class ScriptSampler(scripts.ScriptBuiltinUI):
    section = "sampler"

    def title(self) -> str:
        return "Sampler"

    def ui(self, is_img2img: bool) -> tuple[Any, ...]:
        def choice(label: str, name: str, choices: list[str]) -> Any:
            return gr.Dropdown(choices, value=choices[0], label=label, elem_id=f"{self.tabname}_{name}")

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


class ScriptSeed(scripts.ScriptBuiltinUI):
    section = "seed"
    create_group = False

    def title(self) -> str:
        return "Seed"

    def ui(self, is_img2img: bool) -> tuple[Any, ...]:
        with gr.Row():
            seed = gr.Number(-1, label="Seed", elem_id=self.elem_id("seed"), precision=0)
            another = ToolButton(ui_common.random_symbol, elem_id=self.elem_id("random_seed"), tooltip="A new one")
        another.click(fn=lambda: -1, outputs=[seed], show_progress=False)
        self.infotext_fields = [PasteField(seed, "Seed", api="seed")]
        return (seed,)

    def setup(self, p: Any, *args: Any) -> None:
        (p.seed,) = args
