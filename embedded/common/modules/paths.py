"""The folders in use, made on first import."""

from __future__ import annotations

import os
from pathlib import Path

from modules import paths_internal
from modules.shared_cmd_options import cmd_opts

script_path = paths_internal.script_path
data_path = cmd_opts.data_dir
models_path = os.path.join(data_path, "models")
default_output_dir = os.path.join(data_path, "outputs")

for _folder in (models_path, cmd_opts.embeddings_dir, cmd_opts.lora_dir, cmd_opts.vae_dir):
    os.makedirs(_folder, exist_ok=True)
_ignore = Path(data_path) / ".gitignore"  # the default data folder lies in the working directory
if not _ignore.exists():
    _ignore.write_text("*\n", encoding="utf8")
