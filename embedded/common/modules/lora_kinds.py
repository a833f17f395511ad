"""What a network file's tensors are called and make of a layer's weight: LoRA, LoCon, LoHa and LoKr, with DoRA, add to
it; OFT turns it.

Formulas of LyCORIS (Yeh et al. 2023), DoRA (Liu et al. 2024) and OFT (Qiu et al. 2023).
"""

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
    """Whether a layer's tensors, by the last part of their names, are of a kind that is known here."""
    return "hada_w1_a" in w or any(name.startswith("lokr_w1") for name in w) or _pair(w) is not None


def _pair(w: Mapping[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor] | None:
    return next(((w[up], w[down]) for up, down in _PAIRS if up in w and down in w), None)


def difference(w: Mapping[str, torch.Tensor], dim: int | None = None) -> tuple[torch.Tensor, int | None]:
    """(what is to be added, any shape with the weight's count of numbers; the rank that alpha is divided by, if any).

    Args:
        dim: only so many ranks of a LoRA.
    """
    if "hada_w1_a" in w:
        halves = [w[f"hada_{half}_a"] @ w[f"hada_{half}_b"].flatten(1) for half in ("w1", "w2")]
        return halves[0] * halves[1], w["hada_w1_b"].shape[0]
    pair = _pair(w)
    if pair is None:
        (first, _), (second, rank) = _factor(w, "lokr_w1"), _factor(w, "lokr_w2")
        return torch.kron(first.reshape(*first.shape, *[1] * (second.dim() - 2)), second), rank
    up, down = (factor.flatten(1) for factor in pair)
    if "lora_mid.weight" in w:
        return torch.einsum("n m k l, i n, m j -> i j k l", w["lora_mid.weight"], up, down), down.shape[0]
    return up[:, :dim] @ down[:dim], down.shape[0]


def _factor(w: Mapping[str, torch.Tensor], name: str) -> tuple[torch.Tensor, int | None]:
    """One factor of a LoKr, whole or itself of low rank; and that rank."""
    if name in w:
        return w[name], None
    return w[f"{name}_a"] @ w[f"{name}_b"].flatten(1), w[f"{name}_b"].shape[0]


def decomposed(weight: torch.Tensor, changed: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """DoRA: the changed weight, each row or column of it brought to a length of its own."""
    by_row = scale.shape[0] == changed.shape[0]
    rows = changed if by_row else changed.transpose(0, 1)
    length = rows.flatten(1).norm(dim=1).reshape(-1, *[1] * (changed.dim() - 1))
    length = (length if by_row else length.transpose(0, 1)) + torch.finfo(weight.dtype).eps
    return changed * (scale.to(changed) / length)


def turned(weight: torch.Tensor, blocks: torch.Tensor, limit: float) -> torch.Tensor:
    """OFT: blocks of output channels turned by orthogonal matrices, Cayley transforms of skew-symmetric ones.

    Args:
        weight: [n * size, ...].
        blocks: [n, size, size].
        limit: the largest norm of the skew-symmetric matrices together, per output channel; 0 is none (COFT).
    """
    skew = blocks - blocks.transpose(1, 2)
    largest = limit * weight.shape[0]
    if largest:
        skew = skew * (skew.norm().clamp(max=largest) / skew.norm().clamp(min=1e-8))
    unit = torch.eye(blocks.shape[1], device=blocks.device)
    rotation = torch.linalg.solve(unit - skew, unit + skew)
    rows = weight.reshape(blocks.shape[0], blocks.shape[1], -1)
    return (rotation.transpose(1, 2) @ rows).reshape(weight.shape)
