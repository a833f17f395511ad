"""Where things lie. All that is written goes below the data folder, never into the code's own."""

from __future__ import annotations

from pathlib import Path

from modules import flavour

script_path = str(flavour.FOLDER)
embedded_path = str(Path(__file__).resolve().parents[2])
# Of files of one name the flavour's takes the place of the shared one.
host_folders = (str(Path(embedded_path) / "common"), script_path)
checkout_path = str(Path(__file__).resolve().parents[3])
default_data_dir = str(Path.cwd() / "webui-data" / flavour.NAME)
default_ckpt_dir = str(Path(embedded_path) / "pair")
extensions_builtin_dir = str(Path(script_path) / "extensions-builtin")
sd_default_config = str(Path(script_path) / "configs" / "v1-inference.yaml")
