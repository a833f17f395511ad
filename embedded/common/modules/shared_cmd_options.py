"""Reads the command line once. Extensions may add options in a `preload.py`, so unknown ones are kept, not refused."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

from modules.cmd_args import parser
from modules.paths_internal import default_ckpt_dir, default_data_dir, script_path


def _arguments() -> list[str]:
    return sys.argv[1:] + shlex.split(os.environ.get("COMMANDLINE_ARGS", ""))


cmd_opts, unknown_arguments = parser.parse_known_args(_arguments())

_data = Path(cmd_opts.data_dir or default_data_dir).absolute()
cmd_opts.data_dir = str(_data)
cmd_opts.ckpt_dir = os.path.abspath(cmd_opts.ckpt_dir or default_ckpt_dir)
cmd_opts.lora_dir = os.path.abspath(cmd_opts.lora_dir or _data / "models" / "Lora")
cmd_opts.vae_dir = os.path.abspath(cmd_opts.vae_dir or _data / "models" / "VAE")
cmd_opts.embeddings_dir = os.path.abspath(cmd_opts.embeddings_dir or _data / "embeddings")
cmd_opts.extensions_dir = os.path.abspath(cmd_opts.extensions_dir or _data / "extensions")
cmd_opts.ui_settings_file = os.path.abspath(cmd_opts.ui_settings_file or _data / "config.json")
cmd_opts.ui_config_file = os.path.abspath(cmd_opts.ui_config_file or _data / "ui-config.json")
cmd_opts.webui_is_non_local = bool(cmd_opts.share or cmd_opts.listen or cmd_opts.server_name)
cmd_opts.disable_extension_access = cmd_opts.webui_is_non_local

__all__ = ["cmd_opts", "parser", "script_path", "unknown_arguments"]
