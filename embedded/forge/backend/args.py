"""Command line options that this package reads itself, and what the page may change of them while it runs."""

from __future__ import annotations

import argparse
from typing import Any

parser = argparse.ArgumentParser(add_help=False)
for _name in (
    *("all-in-fp32", "all-in-fp16", "unet-in-fp16", "vae-in-fp16", "vae-in-fp32", "clip-in-fp32"),
    *("always-gpu", "always-high-vram", "always-low-vram", "always-no-vram", "always-cpu"),
    *("always-offload-from-vram", "pin-shared-memory"),
):
    parser.add_argument(f"--{_name}", action="store_true")

args = parser.parse_known_args()[0]

dynamic_args: dict[str, Any] = {}
"""Once a checkpoint was chosen: `forge_unet_storage_dtype` and `online_lora`."""
