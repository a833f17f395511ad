"""Fills the fields of `shared` in the order in which they need each other."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from modules import shared
from modules.shared import cmd_opts


class NoStyles:
    """Saved styles of prompts are not part of this WebUI: names of them add nothing."""

    def apply_styles_to_prompt(self, prompt: str, styles: Sequence[str]) -> str:
        del styles
        return prompt

    apply_negative_styles_to_prompt = apply_styles_to_prompt


def _choose_devices() -> None:
    from modules import devices

    on_cpu = not torch.cuda.is_available() or bool({"sd", "all"}.intersection(cmd_opts.use_cpu))
    if on_cpu:  # half precision on a CPU is slow and incomplete; the hosts' users pass --no-half there
        cmd_opts.no_half = True
    half = torch.float32 if cmd_opts.no_half else torch.float16
    devices.dtype = half
    devices.dtype_vae = torch.float32 if cmd_opts.no_half_vae else half
    devices.dtype_inference = torch.float32 if cmd_opts.precision == "full" else half
    shared.device = devices.device = torch.device("cpu" if on_cpu else "cuda")
    shared.weight_load_location = "cpu"
    if cmd_opts.threads:
        torch.set_num_threads(cmd_opts.threads)


def initialize() -> None:
    from modules import options, shared_options

    shared.options_templates = shared_options.options_templates
    shared.opts = options.Options(shared_options.options_templates)
    shared.opts.load(shared.config_filename)
    _choose_devices()
    from modules import images, shared_state

    shared.state, shared.total_tqdm = shared_state.State(), shared_state.TotalTQDM()
    shared.prompt_styles = NoStyles()
    shared.sd_upscalers = images.UPSCALERS
