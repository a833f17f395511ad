"""The tabs txt2img and img2img: their components, and the request that a click on Generate makes of them.

A tab notes each component under the name of the request's field that it is for. The page sends their values in that
order, then those of the scripts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr

from modules import flavour_page, infotext_utils, scripts, sd_models, sd_samplers, sd_schedulers, shared
from modules.infotext_utils import PasteField, Sending
from modules.ui_common import OutputPanel
from modules.ui_components import FormRow, InputAccordion, ToolButton


def slider(label: str, elem_id: str, low: float, high: float, step: float, value: float) -> Any:
    return gr.Slider(low, high, value=value, step=step, label=label, elem_id=elem_id)


class GenerationTab:
    """What both tabs have.

    Attributes:
        fields: components by the request's fields, in the order in which they are sent.
        pasted: what a paste fills.
    """

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
        infotext_utils.paste_fields[self.name] = infotext_utils.Tab(self.pasted, self.overrides, self.picture())
        self.connect_sending()
        return block

    def picture(self) -> Any:
        """The component of the start picture."""

    def top(self) -> None:
        name = self.name
        with gr.Row(elem_id=f"{name}_toprow"):
            with gr.Column(scale=6):
                for field, label, ending in (
                    ("prompt", "Prompt", "prompt"),
                    ("negative_prompt", "Negative prompt", "neg_prompt"),
                ):
                    box = gr.Textbox(
                        label=label, show_label=False, lines=3, placeholder=label, elem_id=f"{name}_{ending}"
                    )
                    self.note(field, box, label)
            with gr.Column(scale=1, min_width=200):
                with gr.Row(elem_classes="generate-box"):
                    self.interrupt = gr.Button("Interrupt", elem_id=f"{name}_interrupt", elem_classes="while-running")
                    self.skip = gr.Button("Skip", elem_id=f"{name}_skip", elem_classes="while-running")
                    self.generate = gr.Button("Generate", elem_id=f"{name}_generate", variant="primary")
                with gr.Row(elem_id=f"{name}_tools"):
                    self.paste = ToolButton(
                        "\u2199\ufe0f", elem_id="paste", tooltip="Fill all fields from the infotext in the prompt"
                    )

    def controls(self) -> None:
        self.start_picture()
        self.runner.build_section("sampler")
        with gr.Row(elem_classes="accordions"):
            self.accordions()
            self.runner.build_section("accordions")
        with FormRow():
            self._number("width", "Width", "width", (64, 2048, 8, 128), "Size-1")
            self._number("height", "Height", "height", (64, 2048, 8, 128), "Size-2")
        with FormRow():
            self._number("n_iter", "Batch count", "batch_count", (1, 100, 1, 1))
            self._number("batch_size", "Batch size", "batch_size", (1, 8, 1, 1), "Batch size")
        self._number("cfg_scale", "CFG Scale", "cfg_scale", (1.0, 30.0, 0.5, 7.0), "CFG scale")
        if self.is_img2img:
            strength = (0.0, 1.0, 0.01, 0.75)
            self._number(
                "denoising_strength", "Denoising strength", "denoising_strength", strength, "Denoising strength"
            )
        self.runner.build_section("seed")
        self.overrides = gr.Dropdown(
            [], label="Override settings", multiselect=True, visible=False, elem_id=f"{self.name}_override_settings"
        )

    def _number(
        self, field: str, label: str, ending: str, limits: tuple[float, float, float, float], target: Any = None
    ) -> None:
        self.note(field, slider(label, f"{self.name}_{ending}", *limits), target)

    def start_picture(self) -> None:
        """txt2img has none."""

    def accordions(self) -> None:
        """img2img has none but scripts'."""

    def connect(self) -> None:
        from modules import generate

        inputs = [gr.Textbox(visible=False), *self.fields.values(), self.overrides, *self.of_scripts]
        run = generate.on_page(self.name, tuple(self.fields))
        sent = f"(...given) => startTask('{self.name}', given.slice(0, {len(inputs)}))"
        for event in (self.generate.click, self.fields["prompt"].submit, self.fields["negative_prompt"].submit):
            event(fn=run, _js=sent, inputs=inputs, outputs=self.output.outputs, show_progress=False)
        self.interrupt.click(fn=lambda: shared.state.interrupt(), inputs=[], outputs=[], queue=False)
        self.skip.click(fn=lambda: shared.state.skip(), inputs=[], outputs=[], queue=False)

    def connect_sending(self) -> None:
        infotext_utils.send(Sending(self.paste, self.name, text=self.fields["prompt"]))
        names = self.runner.paste_field_names
        values_of = None if self.is_img2img else self.name
        for button, target in ((self.output.to_img2img, "img2img"), (self.output.to_inpaint, "inpaint")):
            infotext_utils.send(Sending(button, target, None, self.output.gallery, values_of, names))


class Txt2Img(GenerationTab):
    def accordions(self) -> None:
        """The hires pass. Lists of its checkpoint, sampler and schedule are there for whoever follows them, unseen."""
        row = ("txt2img_hr_scale", "txt2img_hr_resize_x", "txt2img_hr_resize_y")
        with InputAccordion(False, label="Hires. fix", elem_id="txt2img_hr") as hires:
            self.note("enable_hr", hires, _has_hires)
            with FormRow():
                upscalers = [*shared.latent_upscale_modes, *(known.name for known in shared.sd_upscalers)]
                self._choice("hr_upscaler", "Upscaler", "txt2img_hr_upscaler", upscalers, "Hires upscaler")
                steps = slider("Hires steps", "txt2img_hires_steps", 0, 150, 1, 0)
                self.note("hr_second_pass_steps", steps, "Hires steps")
                strength = slider("Denoising strength", "txt2img_denoising_strength", 0.0, 1.0, 0.01, 0.7)
                self.note("denoising_strength", strength, "Denoising strength")
            with FormRow():
                self.note("hr_scale", slider("Upscale by", row[0], 1.0, 4.0, 0.05, 2.0), "Hires upscale")
                self.note("hr_resize_x", slider("Resize width to", row[1], 0, 2048, 8, 0), "Hires resize-1")
                self.note("hr_resize_y", slider("Resize height to", row[2], 0, 2048, 8, 0), "Hires resize-2")
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
    """Which of the inner tabs is open is sent too, as `mode`."""

    def picture(self) -> Any:
        return self.fields["picture"]

    def start_picture(self) -> None:
        mode = self.note("mode", gr.Textbox("img2img", visible=False))
        with gr.Tabs(elem_id="mode_img2img"):
            for name, title, build in (
                ("img2img", "img2img", self._plain),
                ("inpaint", "Inpaint", self._painted),
                ("upload", "Inpaint upload", self._uploaded),
            ):
                with gr.TabItem(title, id=name) as inner:
                    build()
                inner.select(fn=lambda name=name: name, inputs=[], outputs=[mode], show_progress=False)
        modes = ["Just resize", "Crop and resize", "Resize and fill", "Just resize (latent upscale)"]
        self._index("resize_mode", "Resize mode", modes, 0)
        with FormRow():
            self.note("mask_blur", slider("Mask blur", "img2img_mask_blur", 0, 64, 1, 4), "Mask blur")
            self._index("inpainting_mask_invert", "Mask mode", ["Inpaint masked", "Inpaint not masked"], 0)
            self._index("inpainting_fill", "Masked content", ["fill", "original", "latent noise", "latent nothing"], 1)
            self._index("inpaint_full_res", "Inpaint area", ["Whole picture", "Only masked"], 0)
            padding = slider("Only masked padding, pixels", "img2img_inpaint_full_res_padding", 0, 256, 4, 32)
            self.note("inpaint_full_res_padding", padding, "Masked area padding")

    def _index(self, field: str, label: str, choices: list[str], value: int) -> None:
        radio = gr.Radio(choices, value=choices[value], type="index", label=label, elem_id=f"img2img_{field}")
        self.note(field, radio, None if field == "resize_mode" else label)

    def _plain(self) -> None:
        self._upload("picture", "img2img_image")

    def _painted(self) -> None:
        self.note("painted", flavour_page.canvas("Picture to paint a mask on", "img2maskimg"))

    def _uploaded(self) -> None:
        self._upload("picture_with_mask", "img_inpaint_base")
        self._upload("mask", "img_inpaint_mask")

    def _upload(self, field: str, elem_id: str) -> None:
        look = {"source": "upload", "type": "pil", "image_mode": "RGBA", "height": 400, "show_label": False}
        self.note(field, gr.Image(label="Picture", elem_id=elem_id, interactive=True, **look))

    def connect_sending(self) -> None:
        own = infotext_utils.paste_fields["img2img"]
        infotext_utils.paste_fields["inpaint"] = infotext_utils.Tab(own.fields, own.overrides, self.fields["painted"])
        super().connect_sending()
