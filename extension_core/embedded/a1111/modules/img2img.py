"""The page's img2img button. Annotations are not postponed: gradio reads `request`'s."""

from typing import Any

import gradio as gr
import numpy as np
from PIL import Image, ImageOps

from modules import images, processing, scripts, shared
from modules.infotext_utils import create_override_settings_dict
from modules.shared import opts
from modules.txt2img import generate

IMG2IMG, INPAINT, INPAINT_UPLOAD = 0, 2, 4
"""Tabs by the host's numbers."""


def _image_and_mask(
    mode: int, init_img: Any, init_img_with_mask: Any, init_img_inpaint: Any, init_mask_inpaint: Any
) -> tuple[Any, Any]:
    if mode == INPAINT:
        return init_img_with_mask["image"], processing.create_binary_mask(init_img_with_mask["mask"])
    if mode == INPAINT_UPLOAD:
        return init_img_inpaint, init_mask_inpaint
    return init_img, None


def img2img(id_task: str, request: gr.Request, *args: Any) -> tuple[Any, str, str, str]:
    """`args` in the order of ui_img2img's inputs; what follows the named ones goes to scripts. ValueError without a
    picture.
    """
    (
        mode, prompt, negative_prompt, styles, init_img, init_img_with_mask, init_img_inpaint, init_mask_inpaint,
        mask_blur, inpainting_fill, n_iter, batch_size, cfg_scale, denoising_strength, height, width, resize_mode,
        inpaint_full_res, inpaint_full_res_padding, inpainting_mask_invert, override_settings_texts, *script_args,
    ) = args  # fmt: skip
    image, mask = _image_and_mask(mode, init_img, init_img_with_mask, init_img_inpaint, init_mask_inpaint)
    if image is None:
        raise ValueError("No picture was given; put one into the tab that is open.")
    image = ImageOps.exif_transpose(image) if isinstance(image, Image.Image) else Image.fromarray(np.asarray(image))
    p = processing.StableDiffusionProcessingImg2Img(
        sd_model=shared.sd_model,
        outpath_samples=opts.outdir_samples or opts.outdir_img2img_samples,
        outpath_grids=opts.outdir_grids or opts.outdir_img2img_grids,
        prompt=prompt,
        negative_prompt=negative_prompt,
        styles=styles,
        batch_size=batch_size,
        n_iter=n_iter,
        cfg_scale=cfg_scale,
        width=width,
        height=height,
        init_images=[images.flatten(image, opts.img2img_background_color)],
        mask=mask,
        mask_blur=mask_blur,
        inpainting_fill=inpainting_fill,
        resize_mode=resize_mode,
        denoising_strength=denoising_strength,
        inpaint_full_res=bool(inpaint_full_res),
        inpaint_full_res_padding=inpaint_full_res_padding,
        inpainting_mask_invert=inpainting_mask_invert,
        override_settings=create_override_settings_dict(override_settings_texts),
    )
    p.scripts = scripts.scripts_img2img
    p.script_args = tuple(script_args)
    p.user = getattr(request, "username", None)
    return generate(p, scripts.scripts_img2img)
