"""Conditioning as a step carries it: dicts whose `model_conds` are the arguments of the model's call."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

_MOST_REPEATS = 4


def _rows(tensor: torch.Tensor, count: int) -> torch.Tensor:
    """[count, ...]: cut, or repeated from the start."""
    repeats = math.ceil(count / tensor.shape[0])
    return tensor.repeat([repeats] + [1] * (tensor.ndim - 1))[:count]


class Condition:
    """A tensor with a row for each picture."""

    def __init__(self, cond: Any) -> None:
        self.cond = cond

    def process_cond(self, batch_size: int, device: torch.device, **_place: Any) -> Condition:
        return type(self)(_rows(self.cond, batch_size).to(device))

    def can_concat(self, other: Condition) -> bool:
        return self.cond.shape == other.cond.shape

    def concat(self, others: Sequence[Condition]) -> Any:
        return torch.cat([self.cond, *(other.cond for other in others)])


class ConditionCrossAttn(Condition):
    """Prompts of unequal length go together where repeating them makes them equal; attention does not count copies."""

    def can_concat(self, other: Condition) -> bool:
        mine, theirs = self.cond.shape, other.cond.shape
        if (mine[0], mine[2]) != (theirs[0], theirs[2]):
            return False
        return math.lcm(mine[1], theirs[1]) // min(mine[1], theirs[1]) <= _MOST_REPEATS

    def concat(self, others: Sequence[Condition]) -> torch.Tensor:
        tensors = [self.cond, *(other.cond for other in others)]
        length = math.lcm(*(tensor.shape[1] for tensor in tensors))
        return torch.cat([tensor.repeat(1, length // tensor.shape[1], 1) for tensor in tensors])


class ConditionConstant(Condition):
    def process_cond(self, batch_size: int, device: torch.device, **_place: Any) -> Condition:
        return self

    def can_concat(self, other: Condition) -> bool:
        return self.cond == other.cond

    def concat(self, others: Sequence[Condition]) -> Any:
        return self.cond


def compile_conditions(cond: Any) -> list[dict[str, Any]] | None:
    """A step's conditioning for one prompt a picture; of SDXL's kind with its vector."""
    if cond is None:
        return None
    if isinstance(cond, torch.Tensor):
        return [{"cross_attn": cond, "model_conds": {"c_crossattn": ConditionCrossAttn(cond)}}]
    context, vector = cond["crossattn"], cond["vector"]
    arguments = {"c_crossattn": ConditionCrossAttn(context), "y": Condition(vector)}
    return [{"cross_attn": context, "pooled_output": vector, "model_conds": arguments}]


def compile_weighted_conditions(cond: Any, weights: Sequence[Sequence[tuple[int, float]]]) -> list[dict[str, Any]]:
    """One entry for each part of prompts joined by AND; `weights` are (row, weight) by picture and part. A part's
    weight is the last picture's.
    """
    compiled = []
    for parts in zip(*weights, strict=False):
        indices = [row for row, _ in parts]
        of_part = cond.advanced_indexing(indices) if hasattr(cond, "advanced_indexing") else cond[indices]
        [entry] = compile_conditions(of_part) or [{}]
        entry["strength"] = parts[-1][1]
        compiled.append(entry)
    return compiled
