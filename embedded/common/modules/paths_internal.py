"""Where things lie. Everything that is written goes below the data folder; the code's own folder is never written
to.
"""

from __future__ import annotations

from pathlib import Path

from modules import flavour

script_path = str(flavour.FOLDER)
"""The embedded host's own folder, in the role of the folder in which a host's `webui.py` lies."""

embedded_path = str(Path(__file__).resolve().parents[2])
host_folders = (str(Path(embedded_path) / "common"), script_path)
"""The host's own files: what both flavours share, then the flavour's, of which one takes the place of a shared one of
its name.
"""

checkout_path = str(Path(__file__).resolve().parents[3])
"""This checkout, loaded as an extension."""

default_data_dir = str(Path.cwd() / "webui-data" / flavour.NAME)
default_ckpt_dir = str(Path(embedded_path) / "pair")
extensions_builtin_dir = str(Path(script_path) / "extensions-builtin")
sd_configs_path = str(Path(script_path) / "configs")
sd_default_config = str(Path(sd_configs_path) / "v1-inference.yaml")
