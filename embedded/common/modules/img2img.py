"""The page's img2img button. Annotations are not postponed: gradio reads `request`'s."""

from typing import Any

import gradio as gr
import numpy as np
from PIL import Image, ImageOps

from modules import flavour_server, images, inpaint_canvas, processing, scripts, shared
from modules.infotext_utils import create_override_settings_dict
from modules.shared import opts
from modules.txt2img import for_page, generate, output_folders

IMG2IMG, INPAINT, INPAINT_UPLOAD = 0, 2, 4
"""Tabs by the host's numbers."""


_FIELDS = (
    "mask_blur", "inpainting_fill", "n_iter", "batch_size", "cfg_scale", "denoising_strength", "height", "width",
    "resize_mode", "inpaint_full_res", "inpaint_full_res_padding", "inpainting_mask_invert",
)  # fmt: skip


def _upright(picture: Any) -> Image.Image:
    return (
        ImageOps.exif_transpose(picture) if isinstance(picture, Image.Image) else Image.fromarray(np.asarray(picture))
    )


def _image_and_mask(
    mode: int, init_img: Any, init_img_with_mask: Any, init_img_inpaint: Any, init_mask_inpaint: Any
) -> tuple[Any, Any]:
    if mode == INPAINT:
        picture, mask = inpaint_canvas.split(init_img_with_mask)
        return picture, processing.create_binary_mask(mask)
    if mode == INPAINT_UPLOAD:
        return init_img_inpaint, init_mask_inpaint
    return init_img, None


def img2img_function(id_task: str, request: gr.Request, *args: Any) -> tuple[Any, str, str, str]:
    """`args` in the order of ui_img2img's inputs; what follows the named ones goes to scripts. ValueError without a
    picture.
    """
    mode, prompt, negative_prompt, styles, *rest = args
    picture, mask = _image_and_mask(mode, *rest[:4])
    if picture is None:
        raise ValueError("No picture was given; put one into the tab that is open.")
    given = dict(zip(_FIELDS, rest[4:], strict=False))
    overrides, *script_args = rest[4 + len(_FIELDS) :]
    p = processing.StableDiffusionProcessingImg2Img(
        sd_model=shared.sd_model,
        init_images=[images.flatten(_upright(picture), opts.img2img_background_color)],
        mask=mask,
        override_settings=create_override_settings_dict(overrides),
        **output_folders("img2img"),
        prompt=prompt,
        negative_prompt=negative_prompt,
        styles=styles,
        **{**given, "inpaint_full_res": bool(given["inpaint_full_res"])},
    )
    for_page(p, scripts.scripts_img2img, script_args, request)
    return generate(p, scripts.scripts_img2img)


def img2img(id_task: str, request: gr.Request, *args: Any) -> Any:
    return flavour_server.generate(img2img_function, id_task, request, *args)
