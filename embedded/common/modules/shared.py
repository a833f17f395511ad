"""State that every part of the host reads from one place. `shared_init.initialize` fills it; `sd_model` loads on first
use.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

import gradio as gr

from modules import options, paths_internal, shared_cmd_options, shared_items, util

if TYPE_CHECKING:
    import torch

    from modules import shared_state, shared_total_tqdm, styles

cmd_opts = shared_cmd_options.cmd_opts
parser = shared_cmd_options.parser
config_filename = cmd_opts.ui_settings_file
styles_filename = cmd_opts.styles_file or [f"{cmd_opts.data_dir}/styles.csv"]
hide_dirs = {"visible": not cmd_opts.hide_ui_dir_config}
script_path = paths_internal.script_path
data_path = cmd_opts.data_dir

batch_cond_uncond = True
parallel_processing_allowed = True
demo: gr.Blocks | None = None
device: torch.device
weight_load_location: str | None = None
xformers_available = False
hypernetworks: dict[str, str] = {}
loaded_hypernetworks: list[Any] = []
state: shared_state.State
prompt_styles: styles.StyleDatabase
face_restorers: list[Any] = []
options_templates: dict[str, options.OptionInfo] = {}
opts: options.Options
restricted_opts: set[str] = set()
settings_components: dict[str, Any] = {}
tab_names: list[str] = []
sd_upscalers: list[Any] = []
clip_model = None
progress_print_out = sys.stdout
# Fonts by name alone: gradio's own are fetched from the net.
gradio_theme = gr.themes.Default(
    font=["Source Sans Pro", "ui-sans-serif", "system-ui", "sans-serif"],
    font_mono=["IBM Plex Mono", "ui-monospace", "Consolas", "monospace"],
)
total_tqdm: shared_total_tqdm.TotalTQDM
mem_mon = None


def _interpolation(mode: str, antialias: bool = False) -> dict[str, Any]:
    return {"mode": mode, "antialias": antialias}


latent_upscale_default_mode = "Latent"
latent_upscale_modes: dict[str, dict[str, Any]] = {
    "Latent": _interpolation("bilinear"),
    "Latent (antialiased)": _interpolation("bilinear", antialias=True),
    "Latent (bicubic)": _interpolation("bicubic"),
    "Latent (bicubic antialiased)": _interpolation("bicubic", antialias=True),
    "Latent (nearest)": _interpolation("nearest"),
    "Latent (nearest-exact)": _interpolation("nearest-exact"),
}

options_section = options.options_section
OptionInfo = options.OptionInfo
OptionHTML = options.OptionHTML
natural_sort_key = util.natural_sort_key
listfiles = util.listfiles
walk_files = util.walk_files
list_checkpoint_tiles = shared_items.list_checkpoint_tiles
refresh_checkpoints = shared_items.refresh_checkpoints
list_samplers = shared_items.list_samplers


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
