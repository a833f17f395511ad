"""How values of *Distilled model* and *Carry style: origin* are written: label of the kind, name of the file. Pure."""

from __future__ import annotations

import re

UNET_LABEL = "U-Net: "
LORA_LABEL = "LoRA: "
PICKLE_SUFFIXES = (".ckpt", ".pt", ".bin", ".pth")
MODEL_SUFFIXES = (".safetensors", *PICKLE_SUFFIXES)
_HASH = re.compile(r" \[[0-9a-f]+\]$")


def without_suffix(name: str) -> str:
    """A model file's name without its ending; a dot elsewhere in a name is part of it."""
    return name.rpartition(".")[0] if name.lower().endswith(MODEL_SUFFIXES) else name


def without_kind(label: str) -> str:
    """A value without its kind's label and the short hash that hosts put after a checkpoint's name."""
    return _HASH.sub("", label).removeprefix(UNET_LABEL).removeprefix(LORA_LABEL)
