"""The command line. Unknown options are passed over, as the hosts know many more."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from modules import flavour
from modules.paths_internal import default_ckpt_dir, default_data_dir

parser = argparse.ArgumentParser(prog="python -m embedded", description=f"The embedded WebUI, flavour {flavour.NAME}.")

for _name, _help in {
    "default-config": "ldm yaml of checkpoints that have none beside",
    "data-dir": "folder for settings, models and pictures",
    "ckpt-dir": "folder with checkpoints; by default the trained pair",
    "ckpt": "one checkpoint file, listed and loaded first",
    "lora-dir": "folder with LoRAs",
    "vae-dir": "folder with VAEs",
    "embeddings-dir": "a folder that extensions ask for",
    "ui-settings-file": "the settings, config.json in the data folder",
    "ui-config-file": "a file of the hosts that extensions ask for",
    "server-name": "the address to listen at",
    "api-auth": "user:password of the API, several with commas",
    "gradio-auth": "the same of the page",
}.items():
    parser.add_argument(f"--{_name}", help=_help)
for _name in (
    *("without-self", "nowebui", "listen", "api-server-stop", "no-half", "no-half-vae", "medvram"),
    *("medvram-sdxl", "lowvram", "disable-nan-check", "skip-load-model-at-start", "hide-ui-dir-config"),
):
    parser.add_argument(f"--{_name}", action="store_true")
parser.add_argument("--extensions-dir", "--extensions", help="folder with further extensions")
parser.add_argument("--threads", type=int, help="torch CPU threads (image bytes depend on it)")
parser.add_argument("--port", type=int)
parser.add_argument("--precision", choices=["full", "half", "autocast"], default="autocast")
parser.add_argument("--use-cpu", nargs="+", default=[], type=str.lower)


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
