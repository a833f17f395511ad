"""The command line: options of the hosts that extensions or tests ask for, and a few of the embedded WebUI's own.
Unknown ones are passed over, as the hosts know many more.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from modules import flavour
from modules.paths_internal import default_ckpt_dir, default_data_dir

parser = argparse.ArgumentParser(prog="python -m embedded", description=f"The embedded WebUI, flavour {flavour.NAME}.")

_own = parser.add_argument_group("embedded")
_own.add_argument("--extensions-dir", "--extensions", help="folder with further extensions")
_own.add_argument("--default-config", help="ldm yaml of checkpoints that have none beside")
_own.add_argument("--without-self", action="store_true", help="do not load this checkout as an extension")
_own.add_argument("--listen-timeout", type=float, help="stop the server after this many seconds")
_own.add_argument("--threads", type=int, help="torch CPU threads (image bytes depend on it)")

_folders = parser.add_argument_group("folders")
_folders.add_argument("--data-dir", help="folder for settings, models and pictures")
_folders.add_argument("--ckpt-dir", help="folder with checkpoints; by default the trained pair")
_folders.add_argument("--ckpt", help="one checkpoint file, listed and loaded first")
for _name in ("lora-dir", "vae-dir", "embeddings-dir", "ui-settings-file", "ui-config-file"):
    _folders.add_argument(f"--{_name}")

_server = parser.add_argument_group("server")
_server.add_argument("--port", type=int)
_server.add_argument("--server-name")
_server.add_argument("--subpath")
_server.add_argument("--nowebui", action="store_true", help="API alone, without the page")
_server.add_argument("--api-auth", help="user:password of the API, several with commas")
_server.add_argument("--gradio-auth", help="the same of the page")
_server.add_argument("--cors-allow-origins", help="who else may ask, with commas")
_server.add_argument("--cors-allow-origins-regex")
for _name in ("listen", "share", "autolaunch", "api-server-stop"):
    _server.add_argument(f"--{_name}", action="store_true")

_run = parser.add_argument_group("running")
_run.add_argument("--precision", choices=["full", "half", "autocast"], default="autocast")
_run.add_argument("--use-cpu", nargs="+", default=[], type=str.lower)
for _name in (
    "no-half", "no-half-vae", "medvram", "medvram-sdxl", "lowvram", "opt-channelslast",
    "disable-nan-check", "skip-load-model-at-start", "no-prompt-history", "hide-ui-dir-config",
):  # fmt: skip
    _run.add_argument(f"--{_name}", action="store_true")

cmd_opts, unknown_arguments = parser.parse_known_args(sys.argv[1:])
_data = Path(cmd_opts.data_dir or default_data_dir).absolute()
_PLACES = {
    "data_dir": _data,
    "ckpt_dir": default_ckpt_dir,
    "lora_dir": _data / "models" / "Lora",
    "vae_dir": _data / "models" / "VAE",
    "embeddings_dir": _data / "embeddings",
    "extensions_dir": _data / "extensions",
    "ui_settings_file": _data / "config.json",
    "ui_config_file": _data / "ui-config.json",
}
for _name, _place in _PLACES.items():
    setattr(cmd_opts, _name, os.path.abspath(getattr(cmd_opts, _name) or _place))
