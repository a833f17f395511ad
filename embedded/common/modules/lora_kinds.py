"""What one layer's tensors in a network file make of its weight: LoRA, LoCon, LoHa and LoKr, with DoRA, add to it; OFT
turns it.

Formulas of LyCORIS (Yeh et al. 2023), DoRA (Liu et al. 2024) and OFT (Qiu et al. 2023).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

_PAIRS = (
    ("lora_up.weight", "lora_down.weight"),
    ("lora_B.weight", "lora_A.weight"),
    ("lora_linear_layer.up.weight", "lora_linear_layer.down.weight"),
    ("lora.up.weight", "lora.down.weight"),
)
_PARTS = ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2")
PARTS = (*(part for pair in _PAIRS for part in pair), "lora_mid.weight", *_PARTS, "lokr_w2_a", "lokr_w2_b")


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
