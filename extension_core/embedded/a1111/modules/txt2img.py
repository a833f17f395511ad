"""The page's txt2img button. Annotations are not postponed: gradio reads `request`'s."""

import json
from contextlib import closing
from typing import Any

import gradio as gr

from modules import processing, scripts, shared
from modules.infotext_utils import create_override_settings_dict
from modules.shared import opts
from modules.ui_common import plaintext_to_html


def txt2img_create_processing(id_task: str, request: gr.Request, *args: Any) -> Any:
    """`args` in the order of ui_txt2img's inputs; what follows the named ones goes to scripts."""
    (
        prompt, negative_prompt, styles, n_iter, batch_size, cfg_scale, height, width, enable_hr, denoising_strength,
        hr_scale, hr_upscaler, hr_second_pass_steps, hr_resize_x, hr_resize_y, hr_checkpoint_name, hr_sampler_name,
        hr_scheduler, hr_prompt, hr_negative_prompt, override_settings_texts, *script_args,
    ) = args  # fmt: skip
    p = processing.StableDiffusionProcessingTxt2Img(
        sd_model=shared.sd_model,
        outpath_samples=opts.outdir_samples or opts.outdir_txt2img_samples,
        outpath_grids=opts.outdir_grids or opts.outdir_txt2img_grids,
        prompt=prompt,
        styles=styles,
        negative_prompt=negative_prompt,
        batch_size=batch_size,
        n_iter=n_iter,
        cfg_scale=cfg_scale,
        width=width,
        height=height,
        enable_hr=enable_hr,
        denoising_strength=denoising_strength,
        hr_scale=hr_scale,
        hr_upscaler=hr_upscaler,
        hr_second_pass_steps=hr_second_pass_steps,
        hr_resize_x=hr_resize_x,
        hr_resize_y=hr_resize_y,
        hr_checkpoint_name=None if hr_checkpoint_name == "Use same checkpoint" else hr_checkpoint_name,
        hr_sampler_name=None if hr_sampler_name == "Use same sampler" else hr_sampler_name,
        hr_scheduler=None if hr_scheduler == "Use same scheduler" else hr_scheduler,
        hr_prompt=hr_prompt,
        hr_negative_prompt=hr_negative_prompt,
        override_settings=create_override_settings_dict(override_settings_texts),
    )
    p.scripts = scripts.scripts_txt2img
    p.script_args = tuple(script_args)
    p.user = getattr(request, "username", None)
    return p


def generate(p: Any, runner: Any) -> tuple[Any, str, str, str]:
    """Gallery, generation info as JSON, infotext and comments as HTML."""
    with closing(p):
        processed = runner.run(p, *p.script_args)
        if processed is None:
            processed = processing.process_images(p)
    shared.total_tqdm.clear()
    info = processed.js()
    if opts.samples_log_stdout:
        print(json.loads(info))
    if opts.do_not_show_images:
        processed.images = []
    return (
        processed.images,
        info,
        plaintext_to_html(processed.info),
        plaintext_to_html(processed.comments, classname="comments"),
    )


def txt2img(id_task: str, request: gr.Request, *args: Any) -> tuple[Any, str, str, str]:
    return generate(txt2img_create_processing(id_task, request, *args), scripts.scripts_txt2img)
