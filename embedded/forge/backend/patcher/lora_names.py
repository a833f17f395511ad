"""What diffusers calls the layers of an ldm U-Net."""

from __future__ import annotations

import re

_FIXED = {
    "input_blocks.0.0": "conv_in",
    "out.0": "conv_norm_out",
    "out.2": "conv_out",
    "time_embed.0": "time_embedding.linear_1",
    "time_embed.2": "time_embedding.linear_2",
    "middle_block.0": "mid_block.resnets.0",
    "middle_block.1": "mid_block.attentions.0",
    "middle_block.2": "mid_block.resnets.1",
}
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
    found = re.match(r"(input|output)_blocks\.(\d+)\.(\d+)\.(.+)", layer)
    if layer in _FIXED:
        return _FIXED[layer]
    if found is None:
        head = ".".join(layer.split(".")[:2])
        return _in_part(_FIXED[head], layer[len(head) + 1 :]) if head in _FIXED else None
    side, number, rest = found[1], int(found[2]), found[4]
    level, place = divmod(number - (side == "input"), num_res_blocks + 1)
    block = f"{'down' if side == 'input' else 'up'}_blocks.{level}"
    if rest in ("op", "conv"):
        return f"{block}.{'down' if side == 'input' else 'up'}samplers.0.conv"
    kind = "resnets" if found[3] == "0" else "attentions"
    return _in_part(f"{block}.{kind}.{place}", rest)


def _in_part(part: str, rest: str) -> str:
    return f"{part}.{_IN_RESNETS.get(rest, rest) if '.resnets.' in part else rest}"
