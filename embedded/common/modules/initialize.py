"""Start-up in the host's order: shared state, scripts, lists, networks."""

from __future__ import annotations

import gc
import importlib
import os

from modules.timer import startup_timer


def imports() -> None:
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    from embedded.kdiffusion import load_k_diffusion

    load_k_diffusion()
    import gradio  # noqa: F401

    startup_timer.record("import torch and gradio")
    from modules import shared_init

    shared_init.initialize()
    from modules import flavour

    importlib.import_module(f"modules.{flavour.GRADIO_EXTENSIONS}")
    from modules import processing, ui  # noqa: F401

    gc.freeze()  # libraries stay; what collects garbage at each change of the checkpoint need not look through them
    startup_timer.record("other imports")


def initialize() -> None:
    from modules import initialize_util, preview_files, sd_models

    initialize_util.fix_asyncio_event_loop_policy()
    preview_files.install()
    initialize_util.configure_opts_onchange()
    sd_models.setup_model()
    initialize_rest(reload_script_modules=False)


def initialize_rest(*, reload_script_modules: bool = False) -> None:
    """At start and at every "Reload UI". Scripts are executed afresh; what they import is not, unless a setting asks
    for it.
    """
    del reload_script_modules
    from modules import (
        extensions,
        extra_networks,
        model_handling,
        scripts,
        sd_models,
        sd_samplers,
        sd_vae,
        shared,
        upscaler,
    )

    sd_samplers.set_samplers()
    extensions.list_extensions()
    startup_timer.record("list extensions")
    sd_models.list_models()
    startup_timer.record("list SD models")
    with startup_timer.subcategory("load scripts"):
        scripts.load_scripts()
    shared.sd_upscalers = upscaler.load_upscalers()
    sd_vae.refresh_vae_list()
    model_handling.start()
    extra_networks.initialize()
    extra_networks.register_default_extra_networks()
