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
    full, half = torch.float32, torch.float16
    network = full if cmd_opts.no_half else half
    devices.dtype = devices.dtype_unet = network
    devices.dtype_vae = full if cmd_opts.no_half_vae else network
    devices.dtype_inference = full if cmd_opts.precision == "full" else network
    shared.device = devices.device
    shared.weight_load_location = "cpu"
    if cmd_opts.threads:
        torch.set_num_threads(cmd_opts.threads)


def initialize() -> None:
    from modules import options, shared_options

    known = (shared_options.options_templates, shared_options.restricted_opts)
    shared.options_templates, shared.restricted_opts = known
    shared.opts = options.Options(*known)
    shared.opts.load(shared.config_filename)
    _set_devices()

    from modules import shared_state, shared_total_tqdm, styles

    shared.state = shared_state.State()
    shared.prompt_styles = styles.StyleDatabase(shared.styles_filename)
    shared.total_tqdm = shared_total_tqdm.TotalTQDM()
