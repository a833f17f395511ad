"""The folders in use, made on first import."""

from __future__ import annotations

import os
from pathlib import Path

from modules.paths_internal import extensions_builtin_dir, script_path, sd_configs_path, sd_default_config
from modules.shared_cmd_options import cmd_opts

data_path = cmd_opts.data_dir
models_path = os.path.join(data_path, "models")
extensions_dir = cmd_opts.extensions_dir
default_output_dir = os.path.join(data_path, "outputs")
cwd = os.getcwd()
paths = {"Stable Diffusion": script_path, "k_diffusion": script_path}

for _folder in (data_path, models_path, cmd_opts.embeddings_dir, cmd_opts.lora_dir, cmd_opts.vae_dir):
    os.makedirs(_folder, exist_ok=True)
if not os.path.exists(_ignore := os.path.join(data_path, ".gitignore")):
    Path(_ignore).write_text("*\n", encoding="utf8")  # the default data folder lies in the working directory

__all__ = [
    "cwd",
    "data_path",
    "default_output_dir",
    "extensions_builtin_dir",
    "extensions_dir",
    "models_path",
    "paths",
    "script_path",
    "sd_configs_path",
    "sd_default_config",
]
