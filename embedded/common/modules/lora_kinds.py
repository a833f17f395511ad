"""What a LoRA file's tensors are called and add to a layer's weight."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch

_PAIRS = (
    ("lora_up.weight", "lora_down.weight"),
    ("lora_B.weight", "lora_A.weight"),
    ("lora_linear_layer.up.weight", "lora_linear_layer.down.weight"),
    ("lora.up.weight", "lora.down.weight"),
)
# Layers of an ldm U-Net by their names in diffusers.
_FIXED = {
    "input_blocks.0.0": "conv_in",
    "out.0": "conv_norm_out",
    "out.2": "conv_out",
    "time_embed.0": "time_embedding.linear_1",
    "time_embed.2": "time_embedding.linear_2",
}
_MIDDLE = ("resnets.0", "attentions.0", "resnets.1")
_IN_RESNETS = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "skip_connection": "conv_shortcut",
}


def diffusers_name(layer: str, num_res_blocks: int) -> str | None:
    """As "input_blocks.1.0.in_layers.2" is "down_blocks.0.resnets.0.conv1"; None for what has no name there."""
    found = re.fullmatch(r"(input|output|middle)_blocks?\.(\d+)\.(.+)", layer)
    if layer in _FIXED or found is None:
        return _FIXED.get(layer)
    side, number, rest = found[1], int(found[2]), found[3]
    if side == "middle":
        part = f"mid_block.{_MIDDLE[number]}"
    else:
        level, place = divmod(number - (side == "input"), num_res_blocks + 1)
        index, _, rest = rest.partition(".")
        way = "down" if side == "input" else "up"
        if rest in ("op", "conv"):
            return f"{way}_blocks.{level}.{way}samplers.0.conv"
        part = f"{way}_blocks.{level}.{'attentions' if index == '1' else 'resnets'}.{place}"
    return f"{part}.{_IN_RESNETS.get(rest, rest) if 'resnets' in part else rest}"


def is_known(w: Mapping[str, torch.Tensor]) -> bool:
    """Whether a layer's tensors, by the last part of their names, are a LoRA's."""
    return _pair(w) is not None


def _pair(w: Mapping[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor] | None:
    return next(((w[up], w[down]) for up, down in _PAIRS if up in w and down in w), None)


def difference(w: Mapping[str, torch.Tensor]) -> tuple[torch.Tensor, int]:
    """(what is to be added, any shape with the weight's count of numbers; the rank that alpha is divided by)."""
    pair = _pair(w)
    assert pair is not None
    up, down = (factor.flatten(1) for factor in pair)
    return up @ down, down.shape[0]
