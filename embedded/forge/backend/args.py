"""Command line options that this package reads itself, and what the page may change of them while it runs."""

from __future__ import annotations

import argparse
from typing import Any

parser = argparse.ArgumentParser(add_help=False)
for _name in ("all-in-fp32", "all-in-fp16", "unet-in-bf16", "unet-in-fp16", "unet-in-fp8-e4m3fn", "unet-in-fp8-e5m2"):
    parser.add_argument(f"--{_name}", action="store_true")
for _name in ("vae-in-fp16", "vae-in-bf16", "vae-in-fp32", "vae-in-cpu", "clip-in-fp16", "clip-in-fp32"):
    parser.add_argument(f"--{_name}", action="store_true")
for _name in ("always-gpu", "always-high-vram", "always-low-vram", "always-no-vram", "always-cpu"):
    parser.add_argument(f"--{_name}", action="store_true")
parser.add_argument("--always-offload-from-vram", action="store_true")
parser.add_argument("--pin-shared-memory", action="store_true")

args = parser.parse_known_args()[0]

dynamic_args: dict[str, Any] = {"embedding_dir": "./embeddings", "emphasis_name": "original"}
"""Also, once a checkpoint was chosen: `forge_unet_storage_dtype` and `online_lora`."""
