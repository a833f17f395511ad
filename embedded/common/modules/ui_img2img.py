"""The tab img2img, with inpainting."""

from __future__ import annotations

from typing import Any

import gradio as gr

from modules import img2img as img2img_module
from modules import inpaint_canvas, scripts, ui_parts
from modules.call_queue import wrap_gradio_gpu_call
from modules.infotext_utils import add_paste_fields
from modules.shared import opts
from modules.ui_common import create_output_panel
from modules.ui_components import FormGroup, FormRow, ResizeHandleRow
from modules.ui_toprow import Toprow

_FILLS = ["fill", "original", "latent noise", "latent nothing"]
_RESIZES = ["Just resize", "Crop and resize", "Resize and fill", "Just resize (latent upscale)"]


class Pictures:
    """The tabs that hold the start picture. Which of them is open is an input too."""

    def __init__(self) -> None:
        # No State: gradio 4 does not hand those to the page's own functions.
        self.mode = gr.Number(value=img2img_module.IMG2IMG, precision=0, visible=False)
        with gr.Tabs(elem_id="mode_img2img"):
            with gr.TabItem("img2img", id="img2img", elem_id="img2img_img2img_tab") as plain:
                self.image = self._picture("Image for img2img", "img2img_image", source="upload")
            with gr.TabItem("Inpaint", id="inpaint", elem_id="img2img_inpaint_tab") as inpaint:
                self.with_mask = inpaint_canvas.create("Image for inpainting with mask", "img2maskimg")
            with gr.TabItem("Inpaint upload", id="inpaint_upload", elem_id="img2img_inpaint_upload_tab") as upload:
                self.inpaint_image = self._picture("Image for img2img", "img_inpaint_base", source="upload")
                self.inpaint_mask = self._picture("Mask", "img_inpaint_mask", source="upload")
        m = img2img_module
        for tab, mode in ((plain, m.IMG2IMG), (inpaint, m.INPAINT), (upload, m.INPAINT_UPLOAD)):
            tab.select(fn=lambda mode=mode: mode, inputs=[], outputs=[self.mode], show_progress=False)

    def _picture(self, label: str, elem_id: str, **kwargs: Any) -> Any:
        return gr.Image(
            label=label,
            elem_id=elem_id,
            show_label=False,
            interactive=True,
            type="pil",
            image_mode="RGBA",
            height=400,
            **kwargs,
        )

    @property
    def inputs(self) -> list[Any]:
        return [self.image, self.with_mask, self.inpaint_image, self.inpaint_mask]


class Inpainting:
    def __init__(self) -> None:
        with FormGroup(elem_id="inpaint_controls"):
            with FormRow():
                self.blur = ui_parts.slider("Mask blur", "img2img_mask_blur", 0, 64, 1, 4)
                self.invert = self._radio("Mask mode", "img2img_mask_mode", ["Inpaint masked", "Inpaint not masked"])
            with FormRow():
                self.fill = self._radio("Masked content", "img2img_inpainting_fill", _FILLS, 1)
                self.full_res = self._radio(
                    "Inpaint area", "img2img_inpaint_full_res", ["Whole picture", "Only masked"]
                )
                self.padding = ui_parts.slider(
                    "Only masked padding, pixels", "img2img_inpaint_full_res_padding", 0, 256, 4, 32
                )

    def _radio(self, label: str, elem_id: str, choices: list[str], value: int = 0) -> Any:
        return gr.Radio(label=label, elem_id=elem_id, choices=choices, type="index", value=choices[value])

    @property
    def paste_fields(self) -> list[tuple[Any, Any]]:
        """Of this tab the hosts' own fields name none of a request: over the API an infotext fills scripts' alone."""
        return [
            (self.blur, "Mask blur"),
            (self.invert, "Mask mode"),
            (self.fill, "Masked content"),
            (self.full_res, "Inpaint area"),
            (self.padding, "Masked area padding"),
        ]


def create_interface() -> Any:
    """The tab's Blocks."""
    runner = scripts.scripts_img2img
    scripts.scripts_current = runner
    runner.initialize_scripts(is_img2img=True)
    with gr.Blocks(analytics_enabled=False) as interface:
        toprow = Toprow(is_img2img=True)
        dummy = gr.Textbox(visible=False)
        with gr.Tab("Generation", id="img2img_generation"), ResizeHandleRow(equal_height=False):
            with gr.Column(variant="compact", elem_id="img2img_settings"):
                runner.prepare_ui()
                pictures = Pictures()
                resize_mode = gr.Radio(
                    label="Resize mode", elem_id="resize_mode", choices=_RESIZES, type="index", value=_RESIZES[0]
                )
                inpainting = Inpainting()
                runner.setup_ui_for_section("sampler")
                with gr.Row(elem_id="img2img_accordions", elem_classes="accordions"):
                    runner.setup_ui_for_section("accordions")
                size = ui_parts.Dimensions("img2img")
                runner.setup_ui_for_section("dimensions")
                with FormRow():
                    cfg_scale = ui_parts.slider("CFG Scale", "img2img_cfg_scale", 1.0, 30.0, 0.5, 7.0)
                    strength = ui_parts.slider("Denoising strength", "img2img_denoising_strength", 0.0, 1.0, 0.01, 0.75)
                runner.setup_ui_for_section("cfg")
                runner.setup_ui_for_section("seed")
                overrides = ui_parts.override_settings("img2img")
                with gr.Group(elem_id="img2img_script_container"):
                    custom_inputs = runner.setup_ui()
            with gr.Column():
                output = create_output_panel("img2img", opts.outdir_img2img_samples, toprow)
        inputs = [
            dummy,
            pictures.mode,
            toprow.prompt,
            toprow.negative_prompt,
            toprow.styles,
            *pictures.inputs,
            inpainting.blur,
            inpainting.fill,
            size.batch_count,
            size.batch_size,
            cfg_scale,
            strength,
            size.height,
            size.width,
            resize_mode,
            inpainting.full_res,
            inpainting.padding,
            inpainting.invert,
            overrides,
            *custom_inputs,
        ]
        run = wrap_gradio_gpu_call(img2img_module.img2img, extra_outputs=[None, "", ""])
        ui_parts.connect_generate(toprow, run, "submit_img2img", inputs, output.outputs)
        ui_parts.connect_restore(toprow, "restoreProgressImg2img", dummy, output.outputs)
        fields = [
            (toprow.prompt, "Prompt"),
            (toprow.negative_prompt, "Negative prompt"),
            (cfg_scale, "CFG scale"),
            *(tuple(field) for field in size.paste_fields),
            (toprow.styles, lambda d: d.get("Styles array", gr.update())),
            (strength, "Denoising strength"),
            *inpainting.paste_fields,
            *runner.infotext_fields,
        ]
        add_paste_fields("img2img", pictures.image, fields, overrides)
        add_paste_fields("inpaint", pictures.with_mask, fields, overrides)
        ui_parts.connect_paste_button(toprow, "img2img", overrides)
    scripts.scripts_current = None
    interface.webui_init_image = pictures.image  # type: ignore[attr-defined]
    return interface
