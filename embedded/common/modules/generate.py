"""What a click on Generate does. Annotations are not postponed: gradio reads `request`'s."""

from collections.abc import Callable
from contextlib import closing
from typing import Any

import gradio as gr

from modules import flavour_server, processed, processing, scripts, shared
from modules.call_queue import wrap_gradio_gpu_call
from modules.infotext_utils import create_override_settings_dict
from modules.shared import opts
from modules.ui_common import plaintext_to_html

_SAME = "Use same "
"""What the hires pass's lists begin with; such a field is left open."""


def on_page(tab: str, fields: tuple[str, ...]) -> Callable[..., Any]:
    """A function of the task's id, these fields' values, the settings to override, and the scripts' values."""

    def run(id_task: str, request: gr.Request, *given: Any) -> Any:
        overrides, *of_scripts = given[len(fields) :]
        values = {name: value for name, value in zip(fields, given, strict=False) if not str(value).startswith(_SAME)}
        return flavour_server.generate(
            _generate, tab, values, overrides, of_scripts, getattr(request, "username", None)
        )

    return wrap_gradio_gpu_call(run, extra_outputs=[None, "", ""])


def _generate(tab: str, values: dict[str, Any], overrides: Any, of_scripts: Any, user: str | None) -> tuple[Any, ...]:
    """Gallery, generation info as JSON, infotext and comments as HTML."""
    is_img2img = tab == "img2img"
    kind: Any = processing.StableDiffusionProcessingTxt2Img
    if is_img2img:
        kind = processing.StableDiffusionProcessingImg2Img
        if (picture := values.pop("picture")) is None:
            raise ValueError("No picture was given; put one into the tab.")
        values["init_images"] = [picture]
    p = kind(
        sd_model=shared.sd_model,
        outpath_samples=opts.outdir_samples or getattr(opts, f"outdir_{tab}_samples"),
        outpath_grids=opts.outdir_grids or getattr(opts, f"outdir_{tab}_grids"),
        override_settings=create_override_settings_dict(overrides),
        **values,
    )
    p.scripts = scripts.scripts_img2img if is_img2img else scripts.scripts_txt2img
    p.script_args, p.user = tuple(of_scripts), user
    with closing(p):
        made = p.scripts.run(p, *p.script_args) or processing.process_images(p)
    if opts.do_not_show_images:
        made.images = []
    info, comments = plaintext_to_html(made.info), plaintext_to_html(made.comments, "comments")
    return processed.shown(made), made.js(), info, comments
