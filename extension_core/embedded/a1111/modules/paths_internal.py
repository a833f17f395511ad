"""Where things lie. Everything that is written goes below the data folder; the code's own folder is never written
to.
"""

from __future__ import annotations

from pathlib import Path

script_path = str(Path(__file__).resolve().parents[1])
"""The embedded host's own folder, in the role of the folder in which a host's `webui.py` lies."""

embedded_path = str(Path(__file__).resolve().parents[2])
checkout_path = str(Path(__file__).resolve().parents[4])
"""This checkout, loaded as an extension."""

default_data_dir = str(Path.cwd() / "webui-data" / "a1111")
default_ckpt_dir = str(Path(embedded_path) / "pair")
extensions_builtin_dir = str(Path(script_path) / "extensions-builtin")
sd_configs_path = str(Path(script_path) / "configs")
sd_default_config = str(Path(sd_configs_path) / "v1-inference.yaml")
