"""The tab txt2img."""

from __future__ import annotations

from typing import Any

import gradio as gr

from modules import flavour_page, scripts, sd_models, sd_samplers, sd_schedulers, shared, ui_parts
from modules import txt2img as txt2img_module
from modules.call_queue import wrap_gradio_gpu_call
from modules.infotext_utils import PasteField, add_paste_fields
from modules.shared import opts
from modules.ui_common import create_output_panel, create_refresh_button
from modules.ui_components import FormRow, InputAccordion, ResizeHandleRow
from modules.ui_toprow import Toprow


class Hires:
    """The accordion "Hires. fix"."""

    def __init__(self) -> None:
        upscalers = [*shared.latent_upscale_modes, *(x.name for x in shared.sd_upscalers)]
        with InputAccordion(False, label="Hires. fix", elem_id="txt2img_hr") as self.enable:
            with FormRow(elem_id="txt2img_hires_fix_row1"):
                self.upscaler = gr.Dropdown(
                    label="Upscaler",
                    elem_id="txt2img_hr_upscaler",
                    choices=upscalers,
                    value=shared.latent_upscale_default_mode,
                )
                self.steps = ui_parts.slider("Hires steps", "txt2img_hires_steps", 0, 150, 1, 0)
                self.strength = ui_parts.slider("Denoising strength", "txt2img_denoising_strength", 0.0, 1.0, 0.01, 0.7)
            with FormRow(elem_id="txt2img_hires_fix_row2"):
                self.scale = ui_parts.slider("Upscale by", "txt2img_hr_scale", 1.0, 4.0, 0.05, 2.0)
                self.resize_x = ui_parts.slider("Resize width to", "txt2img_hr_resize_x", 0, 2048, 8, 0)
                self.resize_y = ui_parts.slider("Resize height to", "txt2img_hr_resize_y", 0, 2048, 8, 0)
            self._models()
            with FormRow(elem_id="txt2img_hires_fix_row5"):
                self.further = flavour_page.hires_inputs()
            self._prompts()

    def _models(self) -> None:
        same = ["Use same checkpoint"]
        samplers = ["Use same sampler", *sd_samplers.visible_sampler_names()]
        schedulers = ["Use same scheduler", *(x.label for x in sd_schedulers.schedulers)]
        with FormRow(elem_id="txt2img_hires_fix_row3", visible=opts.hires_fix_show_sampler):
            self.checkpoint = gr.Dropdown(
                label="Hires checkpoint",
                elem_id="hr_checkpoint",
                choices=same + sd_models.checkpoint_tiles(),
                value=same[0],
            )
            create_refresh_button(
                self.checkpoint,
                sd_models.list_models,
                lambda: {"choices": same + sd_models.checkpoint_tiles()},
                "hr_checkpoint_refresh",
            )
            self.sampler = gr.Dropdown(
                label="Hires sampling method", elem_id="hr_sampler", choices=samplers, value=samplers[0]
            )
            self.scheduler = gr.Dropdown(
                label="Hires schedule type", elem_id="hr_scheduler", choices=schedulers, value=schedulers[0]
            )

    def _prompts(self) -> None:
        with FormRow(elem_id="txt2img_hires_fix_row4", visible=opts.hires_fix_show_prompts):
            self.prompt = gr.Textbox(label="Hires prompt", elem_id="hires_prompt", show_label=False, lines=3)
            self.negative_prompt = gr.Textbox(
                label="Hires negative prompt", elem_id="hires_neg_prompt", show_label=False, lines=3
            )

    @property
    def inputs(self) -> list[Any]:
        return [
            self.enable,
            self.strength,
            self.scale,
            self.upscaler,
            self.steps,
            self.resize_x,
            self.resize_y,
            self.checkpoint,
            self.sampler,
            self.scheduler,
            self.prompt,
            self.negative_prompt,
            *self.further,
        ]

    @property
    def paste_fields(self) -> list[PasteField]:
        def enabled(d: dict[str, Any]) -> bool:
            return "Denoising strength" in d and (
                "Hires upscale" in d or "Hires upscaler" in d or "Hires resize-1" in d
            )

        return [
            PasteField(self.strength, "Denoising strength", api="denoising_strength"),
            PasteField(self.enable, enabled, api="enable_hr"),
            PasteField(self.scale, "Hires upscale", api="hr_scale"),
            PasteField(self.upscaler, "Hires upscaler", api="hr_upscaler"),
            PasteField(self.steps, "Hires steps", api="hr_second_pass_steps"),
            PasteField(self.resize_x, "Hires resize-1", api="hr_resize_x"),
            PasteField(self.resize_y, "Hires resize-2", api="hr_resize_y"),
            PasteField(self.checkpoint, "Hires checkpoint", api="hr_checkpoint_name"),
            PasteField(self.sampler, sd_samplers.get_hr_sampler_from_infotext, api="hr_sampler_name"),
            PasteField(self.scheduler, sd_samplers.get_hr_scheduler_from_infotext, api="hr_scheduler"),
            PasteField(self.prompt, "Hires prompt", api="hr_prompt"),
            PasteField(self.negative_prompt, "Hires negative prompt", api="hr_negative_prompt"),
            *flavour_page.hires_paste_fields(self.further),
        ]


def create_interface() -> Any:
    """The tab's Blocks."""
    runner = scripts.scripts_txt2img
    scripts.scripts_current = runner
    runner.initialize_scripts(is_img2img=False)
    with gr.Blocks(analytics_enabled=False) as interface:
        toprow = Toprow(is_img2img=False)
        dummy = gr.Textbox(visible=False)
        with gr.Tab("Generation", id="txt2img_generation"), ResizeHandleRow(equal_height=False):
            with gr.Column(variant="compact", elem_id="txt2img_settings", scale=1):
                runner.prepare_ui()
                runner.setup_ui_for_section("sampler")
                with gr.Row(elem_id="txt2img_accordions", elem_classes="accordions"):
                    hires = Hires()
                    runner.setup_ui_for_section("accordions")
                size = ui_parts.Dimensions("txt2img")
                runner.setup_ui_for_section("dimensions")
                cfg_scale = ui_parts.slider("CFG Scale", "txt2img_cfg_scale", 1.0, 30.0, 0.5, 7.0)
                runner.setup_ui_for_section("cfg")
                runner.setup_ui_for_section("seed")
                overrides = ui_parts.override_settings("txt2img")
                with gr.Group(elem_id="txt2img_script_container"):
                    custom_inputs = runner.setup_ui()
            with gr.Column(scale=1):
                output = create_output_panel("txt2img", opts.outdir_txt2img_samples, toprow)
        inputs = [
            dummy,
            toprow.prompt,
            toprow.negative_prompt,
            toprow.styles,
            size.batch_count,
            size.batch_size,
            cfg_scale,
            size.height,
            size.width,
            *hires.inputs,
            overrides,
            *custom_inputs,
        ]
        run = wrap_gradio_gpu_call(txt2img_module.txt2img, extra_outputs=[None, "", ""])
        ui_parts.connect_generate(toprow, run, "submit", inputs, output.outputs)
        ui_parts.connect_restore(toprow, "restoreProgressTxt2img", dummy, output.outputs)
        fields = [
            PasteField(toprow.prompt, "Prompt", api="prompt"),
            PasteField(toprow.negative_prompt, "Negative prompt", api="negative_prompt"),
            PasteField(cfg_scale, "CFG scale", api="cfg_scale"),
            *size.paste_fields,
            PasteField(toprow.styles, lambda d: d.get("Styles array", gr.update()), api="styles"),
            *hires.paste_fields,
            *runner.infotext_fields,
        ]
        add_paste_fields("txt2img", None, fields, overrides)
        ui_parts.connect_paste_button(toprow, "txt2img", overrides)
    scripts.scripts_current = None
    return interface
