"""State that every part of the WebUI reads from one place; `sd_model` loads on first use."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable
from types import ModuleType
from typing import TYPE_CHECKING, Any

import gradio as gr

from modules import options, paths_internal, shared_cmd_options

if TYPE_CHECKING:
    import torch

    from modules import shared_state

cmd_opts = shared_cmd_options.cmd_opts
config_filename = cmd_opts.ui_settings_file
script_path = paths_internal.script_path
data_path = cmd_opts.data_dir

device: torch.device
parallel_processing_allowed = True
demo: gr.Blocks | None = None
state: shared_state.State
total_tqdm: Any
opts: options.Options
# Fonts by name alone: gradio's own are fetched from the net.
gradio_theme = gr.themes.Default(
    font=["Source Sans Pro", "ui-sans-serif", "system-ui", "sans-serif"],
    font_mono=["IBM Plex Mono", "ui-monospace", "Consolas", "monospace"],
)

latent_upscale_default_mode = "Latent"
latent_upscale_modes: dict[str, dict[str, Any]] = {
    "Latent": {"mode": "bilinear", "antialias": False},
    "Latent (bicubic)": {"mode": "bicubic", "antialias": False},
    "Latent (nearest-exact)": {"mode": "nearest-exact", "antialias": False},
}


def walk_files(path: str, allowed_extensions: Iterable[str]) -> list[str]:
    """Files below a folder with one of these endings, links followed; capitals count as small, digits as numbers."""
    found = (os.path.join(folder, name) for folder, _, names in os.walk(path, followlinks=True) for name in names)
    kept = [file for file in found if file.lower().endswith(tuple(allowed_extensions))]
    return sorted(kept, key=lambda file: re.sub(r"\d+", lambda digits: digits[0].zfill(9), file.lower()))


class _Shared(ModuleType):
    """Gives this module the property `sd_model`, which loads the selected checkpoint where none was loaded yet."""

    @property
    def sd_model(self) -> Any:
        from modules import sd_models

        return sd_models.model_data.get_sd_model()

    @sd_model.setter
    def sd_model(self, value: Any) -> None:
        from modules import sd_models

        sd_models.model_data.set_sd_model(value)


sys.modules[__name__].__class__ = _Shared
