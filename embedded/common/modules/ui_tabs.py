"""The tabs txt2img and img2img. Components are noted by the request's field that they are for, and sent so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr

from modules import flavour_page, images, infotext_utils, scripts, sd_models, sd_samplers, sd_schedulers, shared
from modules.infotext_utils import PasteField
from modules.ui_common import OutputPanel
from modules.ui_components import FormRow, InputAccordion, ToolButton


class GenerationTab:
    """`fields`: components by the request's fields, in the order in which they are sent; `pasted`: what pastes fill."""

    def __init__(self, name: str) -> None:
        self.name, self.is_img2img = name, name == "img2img"
        self.fields: dict[str, Any] = {}
        self.pasted: list[PasteField] = []
        self.runner = scripts.scripts_img2img if self.is_img2img else scripts.scripts_txt2img

    def note(self, field: str, component: Any, target: Any = None) -> Any:
        """Keep a component; `target`: what a paste reads its value by."""
        self.fields[field] = component
        if target is not None:
            # Of the tab's own fields an infotext over the API fills txt2img's alone, as on the hosts.
            self.pasted.append(PasteField(component, target, api=None if self.is_img2img else field))
        return component

    def build(self) -> gr.Blocks:
        self.runner.initialize_scripts(self.is_img2img)
        scripts.scripts_current = self.runner
        with gr.Blocks(analytics_enabled=False) as block:
            self.top()
            with gr.Row(equal_height=False):
                with gr.Column(elem_id=f"{self.name}_settings"):
                    self.controls()
                    with gr.Group(elem_id=f"{self.name}_script_container"):
                        self.of_scripts = self.runner.build_rest()
                with gr.Column():
                    self.output = OutputPanel(self.name)
            self.connect()
        scripts.scripts_current = None
        self.pasted += [PasteField(*known) for known in self.runner.infotext_fields]
        for name in (self.name, "inpaint") if self.is_img2img else (self.name,):
            picture = self.fields.get("picture")
            infotext_utils.paste_fields[name] = infotext_utils.Tab(self.name, self.pasted, self.overrides, picture)
        infotext_utils.sends(self.paste, self.name, self.fields["prompt"])
        values = None if self.is_img2img else (self.name, self.runner.paste_field_names)
        for button, target in ((self.output.to_img2img, "img2img"), (self.output.to_inpaint, "inpaint")):
            infotext_utils.sends(button, target, picture=self.output.gallery, values=values)
        return block

    def top(self) -> None:
        name = self.name
        with gr.Row(elem_id=f"{name}_toprow"):
            with gr.Column(scale=6):
                for field, label, ending in (("prompt", "Prompt", ""), ("negative_prompt", "Negative prompt", "neg_")):
                    look = {"show_label": False, "lines": 3, "placeholder": label}
                    self.note(field, gr.Textbox(label=label, elem_id=f"{name}_{ending}prompt", **look), label)
            with gr.Column(scale=1, min_width=200):
                with gr.Row(elem_classes="generate-box"):
                    self.interrupt = gr.Button("Interrupt", elem_id=f"{name}_interrupt", elem_classes="while-running")
                    self.skip = gr.Button("Skip", elem_id=f"{name}_skip", elem_classes="while-running")
                    self.generate = gr.Button("Generate", elem_id=f"{name}_generate", variant="primary")
                with gr.Row(elem_id=f"{name}_tools"):
                    self.paste = ToolButton("\u2199\ufe0f", elem_id="paste", tooltip="Paste the prompt's infotext")

    def controls(self) -> None:
        self.start_picture()
        self.runner.build_section("sampler")
        with gr.Row(elem_classes="accordions"):
            self.accordions()
        with FormRow():
            self.number("width", "Width", (64, 2048, 8, 128), "Size-1")
            self.number("height", "Height", (64, 2048, 8, 128), "Size-2")
        with FormRow():
            self.number("n_iter", "Batch count", (1, 100, 1, 1), None, "batch_count")
            self.number("batch_size", "Batch size", (1, 8, 1, 1), "Batch size")
        self.number("cfg_scale", "CFG Scale", (1.0, 30.0, 0.5, 7.0), "CFG scale")
        if self.is_img2img:
            self.number("denoising_strength", "Denoising strength", (0.0, 1.0, 0.01, 0.75), "Denoising strength")
        self.runner.build_section("seed")
        of_overrides = {"label": "Override settings", "elem_id": f"{self.name}_override_settings"}
        self.overrides = gr.Dropdown([], multiselect=True, visible=False, **of_overrides)

    def number(self, field: str, label: str, limits: tuple[Any, ...], target: Any, ending: str = "") -> None:
        low, high, step, value = limits
        elem_id = f"{self.name}_{ending or field}"
        self.note(field, gr.Slider(low, high, value=value, step=step, label=label, elem_id=elem_id), target)

    def start_picture(self) -> None:
        """txt2img has none."""

    def accordions(self) -> None:
        """img2img has none."""

    def connect(self) -> None:
        from modules import generate

        inputs = [gr.Textbox(visible=False), *self.fields.values(), self.overrides, *self.of_scripts]
        run = generate.on_page(self.name, tuple(self.fields))
        sent = f"(...given) => startTask('{self.name}', given.slice(0, {len(inputs)}))"
        for event in (self.generate.click, self.fields["prompt"].submit, self.fields["negative_prompt"].submit):
            event(fn=run, _js=sent, inputs=inputs, outputs=self.output.outputs, show_progress=False)
        self.interrupt.click(fn=lambda: shared.state.interrupt(), inputs=[], outputs=[], queue=False)
        self.skip.click(fn=lambda: shared.state.skip(), inputs=[], outputs=[], queue=False)


class Txt2Img(GenerationTab):
    def accordions(self) -> None:
        """The hires pass. Lists of its checkpoint, sampler and schedule are there for whoever follows them, unseen."""
        with InputAccordion(False, label="Hires. fix", elem_id="txt2img_hr") as hires:
            self.note("enable_hr", hires, _has_hires)
            with FormRow():
                upscalers = [*shared.latent_upscale_modes, *images.UPSCALERS]
                self._choice("hr_upscaler", "Upscaler", "txt2img_hr_upscaler", upscalers, "Hires upscaler")
                self.number("hr_second_pass_steps", "Hires steps", (0, 150, 1, 0), "Hires steps", "hires_steps")
                self.number("denoising_strength", "Denoising strength", (0.0, 1.0, 0.01, 0.7), "Denoising strength")
            with FormRow():
                self.number("hr_scale", "Upscale by", (1.0, 4.0, 0.05, 2.0), "Hires upscale")
                self.number("hr_resize_x", "Resize width to", (0, 2048, 8, 0), "Hires resize-1")
                self.number("hr_resize_y", "Resize height to", (0, 2048, 8, 0), "Hires resize-2")
            with FormRow(visible=False):
                self._same_or("checkpoint", "hr_checkpoint_name", sd_models.checkpoint_tiles(), "Hires checkpoint")
                names = sd_samplers.visible_sampler_names()
                self._same_or("sampler", "hr_sampler_name", names, "Hires sampler")
                labels = [known.label for known in sd_schedulers.schedulers]
                self._same_or("scheduler", "hr_scheduler", labels, "Hires schedule type")
                self.note("hr_prompt", gr.Textbox(label="Hires prompt"), "Hires prompt")
                self.note("hr_negative_prompt", gr.Textbox(label="Hires negative prompt"), "Hires negative prompt")
            for field, component, target in flavour_page.hires_components():
                self.note(field, component, target)

    def _choice(self, field: str, label: str, elem_id: str, choices: Sequence[str], target: Any) -> None:
        self.note(field, gr.Dropdown(choices, value=choices[0], label=label, elem_id=elem_id), target)

    def _same_or(self, what: str, field: str, others: Sequence[str], target: Any) -> None:
        self._choice(field, f"Hires {what}", f"hr_{what}", [f"Use same {what}", *others], target)


def _has_hires(params: dict[str, Any]) -> bool:
    return "Denoising strength" in params and ("Hires upscale" in params or "Hires upscaler" in params)


class Img2Img(GenerationTab):
    """From a whole picture: what a mask does is asked of the API."""

    def start_picture(self) -> None:
        look = {"source": "upload", "type": "pil", "image_mode": "RGBA", "height": 400, "show_label": False}
        self.note("picture", gr.Image(label="Picture", elem_id="img2img_image", interactive=True, **look))
        modes = ["Just resize", "Crop and resize"]
        radio = gr.Radio(modes, value=modes[0], type="index", label="Resize mode", elem_id="img2img_resize_mode")
        self.note("resize_mode", radio)
