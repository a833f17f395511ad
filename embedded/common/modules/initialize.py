"""Start-up: shared state, then lists and scripts, which "Reload UI" makes anew."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
from pathlib import Path

from modules.timer import startup_timer


def imports() -> None:
    """Torch, gradio and what changes them, before anything is built."""
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    from embedded.kdiffusion import load_k_diffusion

    load_k_diffusion()
    from modules import shared_init

    shared_init.initialize()
    from modules import gradio_changes, processing, ui  # noqa: F401

    gc.freeze()  # libraries stay; what collects garbage at each change of the checkpoint need not look through them
    startup_timer.record("imports")


class _LoopForEveryThread(asyncio.DefaultEventLoopPolicy):
    """asyncio gives the main thread alone an event loop unasked; gradio asks for one wherever it is started."""

    def get_event_loop(self) -> asyncio.AbstractEventLoop:
        with contextlib.suppress(RuntimeError):
            return super().get_event_loop()
        self.set_event_loop(self.new_event_loop())
        return super().get_event_loop()


def initialize() -> None:
    """Once a process."""
    from modules import preview_files, sd_models

    asyncio.set_event_loop_policy(_LoopForEveryThread())
    preview_files.install()
    Path(sd_models.model_path).mkdir(parents=True, exist_ok=True)
    initialize_rest()


def initialize_rest() -> None:
    """At the start and at every "Reload UI"."""
    from modules import extensions, extra_networks, model_handling, scripts, sd_models, sd_samplers, sd_vae

    sd_samplers.set_samplers()
    sd_models.list_models()
    sd_vae.refresh_vae_list()
    startup_timer.record("lists of models")
    extensions.list_extensions()
    scripts.load_scripts()
    extra_networks.initialize()
    model_handling.start()
    startup_timer.record("scripts")
