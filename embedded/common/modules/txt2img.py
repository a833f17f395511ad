"""The page's txt2img button. Annotations are not postponed: gradio reads `request`'s."""

import json
from contextlib import closing
from typing import Any

import gradio as gr

from modules import flavour_page, flavour_server, processing, processing_result, scripts, shared
from modules.infotext_utils import create_override_settings_dict
from modules.shared import opts
from modules.ui_common import plaintext_to_html

_FIELDS = (
    "prompt", "negative_prompt", "styles", "n_iter", "batch_size", "cfg_scale", "height", "width", "enable_hr",
    "denoising_strength", "hr_scale", "hr_upscaler", "hr_second_pass_steps", "hr_resize_x", "hr_resize_y",
    "hr_checkpoint_name", "hr_sampler_name", "hr_scheduler", "hr_prompt", "hr_negative_prompt",
    *flavour_page.HIRES_FIELDS,
)  # fmt: skip
_AS_IN_THE_FIRST_PASS = {
    "hr_checkpoint_name": "Use same checkpoint",
    "hr_sampler_name": "Use same sampler",
    "hr_scheduler": "Use same scheduler",
}


def txt2img_create_processing(id_task: str, request: gr.Request, *args: Any) -> Any:
    """`args` in the order of ui_txt2img's inputs; what follows the named ones goes to scripts."""
    given = dict(zip(_FIELDS, args, strict=False))
    for name, same in _AS_IN_THE_FIRST_PASS.items():
        given[name] = None if given[name] == same else given[name]
    overrides, *script_args = args[len(_FIELDS) :]
    p = processing.StableDiffusionProcessingTxt2Img(
        sd_model=shared.sd_model,
        override_settings=create_override_settings_dict(overrides),
        **output_folders("txt2img"),
        **given,
    )
    return for_page(p, scripts.scripts_txt2img, script_args, request)


def output_folders(tab: str) -> dict[str, str]:
    """Where this tab's pictures and grids go; one folder for all tabs wins."""
    kinds = {"outpath_samples": "samples", "outpath_grids": "grids"}
    return {
        name: getattr(opts, f"outdir_{kind}") or getattr(opts, f"outdir_{tab}_{kind}") for name, kind in kinds.items()
    }


def for_page(p: Any, runner: Any, script_args: list[Any], request: gr.Request) -> Any:
    p.scripts = runner
    p.script_args = tuple(script_args)
    p.user = getattr(request, "username", None)
    return p


def generate(p: Any, runner: Any) -> tuple[Any, str, str, str]:
    """Gallery, generation info as JSON, infotext and comments as HTML."""
    with closing(p):
        done = runner.run(p, *p.script_args) or processing.process_images(p)
    shared.total_tqdm.clear()
    info = done.js()
    if opts.samples_log_stdout:
        print(json.loads(info))
    if opts.do_not_show_images:
        done.images = []
    return (
        processing_result.shown(done),
        info,
        plaintext_to_html(done.info),
        plaintext_to_html(done.comments, classname="comments"),
    )


def txt2img_function(id_task: str, request: gr.Request, *args: Any) -> tuple[Any, str, str, str]:
    return generate(txt2img_create_processing(id_task, request, *args), scripts.scripts_txt2img)


def txt2img(id_task: str, request: gr.Request, *args: Any) -> Any:
    return flavour_server.generate(txt2img_function, id_task, request, *args)
