"""Conditioning as a step carries it: dicts whose `model_conds` are the arguments of the model's call."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

_MOST_REPEATS = 4


class Condition:
    """A tensor with a row for each picture."""

    def __init__(self, cond: torch.Tensor) -> None:
        self.cond = cond

    def process_cond(self, batch_size: int, device: torch.device) -> Condition:
        """[batch_size, ...]: cut, or repeated from the start."""
        places = torch.arange(batch_size) % len(self.cond)
        return type(self)(self.cond[places].to(device))

    def can_concat(self, other: Condition) -> bool:
        return self.cond.shape == other.cond.shape

    def concat(self, others: Sequence[Condition]) -> torch.Tensor:
        return torch.cat([self.cond, *(other.cond for other in others)])


class ConditionCrossAttn(Condition):
    """Prompts of unequal length go together where repeating them makes them equal; attention does not count copies."""

    def can_concat(self, other: Condition) -> bool:
        lengths = [self.cond.shape[1], other.cond.shape[1]]
        rows_and_width = [(x.cond.shape[0], x.cond.shape[2]) for x in (self, other)]
        return rows_and_width[0] == rows_and_width[1] and math.lcm(*lengths) <= _MOST_REPEATS * min(lengths)

    def concat(self, others: Sequence[Condition]) -> torch.Tensor:
        tensors = [part.cond for part in (self, *others)]
        length = math.lcm(*(tensor.shape[1] for tensor in tensors))
        return torch.cat([tensor.repeat(1, length // tensor.shape[1], 1) for tensor in tensors])


def compile_conditions(cond: torch.Tensor | None) -> list[dict[str, Any]] | None:
    """A step's conditioning [B, T, D] for one prompt a picture."""
    return None if cond is None else [{"cross_attn": cond, "model_conds": {"c_crossattn": ConditionCrossAttn(cond)}}]


def compile_weighted_conditions(
    cond: torch.Tensor, weights: Sequence[Sequence[tuple[int, float]]]
) -> list[dict[str, Any]]:
    """One entry for each part of prompts joined by AND; `weights` are (row, weight) by picture and part. A part's
    weight is the last picture's.
    """
    compiled = []
    for parts in zip(*weights, strict=False):
        for entry in compile_conditions(cond[[row for row, _ in parts]]) or []:
            compiled.append({**entry, "strength": parts[-1][1]})
    return compiled
