"""Start-up: shared state, then lists and scripts, which "Reload UI" makes anew."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
from pathlib import Path
from types import SimpleNamespace

import torch


def imports() -> None:
    """Torch, gradio and what changes them, before anything is built."""
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    from embedded.kdiffusion import load_k_diffusion

    load_k_diffusion()
    _share()
    from modules import gradio_changes, processing, ui  # noqa: F401

    gc.freeze()  # libraries stay; what collects garbage at each change of the checkpoint need not look through them


def _share() -> None:
    """Settings, devices and the state of the running job, in the order in which they need each other."""
    from modules import devices, options, shared, shared_options

    shared.opts, cmd_opts = options.Options(shared_options.options_templates), shared.cmd_opts
    shared.opts.load(shared.config_filename)
    on_cpu = not torch.cuda.is_available() or bool({"sd", "all"}.intersection(cmd_opts.use_cpu))
    if on_cpu:  # half precision on a CPU is slow and incomplete; the hosts' users pass --no-half there
        cmd_opts.no_half = True
    half = torch.float32 if cmd_opts.no_half else torch.float16
    devices.dtype = half
    devices.dtype_vae = torch.float32 if cmd_opts.no_half_vae else half
    devices.dtype_inference = torch.float32 if cmd_opts.precision == "full" else half
    shared.device = devices.device = torch.device("cpu" if on_cpu else "cuda")
    if cmd_opts.threads:
        torch.set_num_threads(cmd_opts.threads)
    from modules import shared_state

    shared.state, shared.total_tqdm = shared_state.State(), SimpleNamespace(clear=lambda: None)


class _LoopForEveryThread(asyncio.DefaultEventLoopPolicy):
    """asyncio gives the main thread alone an event loop unasked; gradio asks for one wherever it is started."""

    def get_event_loop(self) -> asyncio.AbstractEventLoop:
        with contextlib.suppress(RuntimeError):
            return super().get_event_loop()
        self.set_event_loop(self.new_event_loop())
        return super().get_event_loop()


def initialize() -> None:
    """Once a process."""
    from modules import sd_models, sd_vae_taesd

    asyncio.set_event_loop_policy(_LoopForEveryThread())
    sd_vae_taesd.install()
    Path(sd_models.model_path).mkdir(parents=True, exist_ok=True)
    initialize_rest()


def initialize_rest() -> None:
    """At the start and at every "Reload UI"."""
    from modules import extra_networks, model_handling, scripts, sd_models

    sd_models.list_models()
    scripts.list_extensions()
    scripts.load_scripts()
    extra_networks.initialize()
    model_handling.start()
