"""Fills the fields of `shared` in the order in which they need each other."""

from __future__ import annotations

import torch

from modules import shared
from modules.shared import cmd_opts


def _set_devices() -> None:
    from modules import devices

    on_cpu = bool({"sd", "all"} & set(cmd_opts.use_cpu)) or not torch.cuda.is_available()
    if on_cpu:  # half precision on a CPU is slow and incomplete; the hosts' users pass --no-half there
        cmd_opts.no_half = True
    devices.device = devices.cpu if on_cpu else devices.get_optimal_device()
    devices.dtype = torch.float32 if cmd_opts.no_half else torch.float16
    devices.dtype_vae = torch.float32 if cmd_opts.no_half or cmd_opts.no_half_vae else torch.float16
    devices.dtype_unet = devices.dtype
    devices.dtype_inference = torch.float32 if cmd_opts.precision == "full" else devices.dtype
    shared.device = devices.device
    shared.weight_load_location = "cpu"
    if cmd_opts.threads:
        torch.set_num_threads(cmd_opts.threads)


def initialize() -> None:
    from modules import options, shared_options

    shared.options_templates = shared_options.options_templates
    shared.restricted_opts = shared_options.restricted_opts
    shared.opts = options.Options(shared_options.options_templates, shared_options.restricted_opts)
    shared.opts.load(shared.config_filename)
    _set_devices()

    from modules import shared_state, shared_total_tqdm, styles

    shared.state = shared_state.State()
    shared.prompt_styles = styles.StyleDatabase(shared.styles_filename)
    shared.total_tqdm = shared_total_tqdm.TotalTQDM()
