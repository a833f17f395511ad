"""From prompts to conditioning: emphasis, AND, and the choice of the conditioning that holds at a step."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from modules.prompt_schedule import get_learned_conditioning_prompt_schedules


class ScheduledPromptConditioning(NamedTuple):
    end_at_step: int
    cond: Any


class SdConditioning(list[str]):
    """Prompts, with the size of the picture, which SDXL's text encoder is told."""

    def __init__(
        self,
        prompts: Sequence[str],
        is_negative_prompt: bool = False,
        width: int | None = None,
        height: int | None = None,
        copy_from: Any = None,
    ) -> None:
        super().__init__(prompts)
        source = prompts if copy_from is None else copy_from
        self.is_negative_prompt = is_negative_prompt or getattr(source, "is_negative_prompt", False)
        self.width = width or getattr(source, "width", None)
        self.height = height or getattr(source, "height", None)


class ComposableScheduledPromptConditioning:
    def __init__(self, schedules: list[ScheduledPromptConditioning], weight: float = 1.0) -> None:
        self.schedules = schedules
        self.weight = weight


class MulticondLearnedConditioning:
    """`batch[i]` holds the parts that AND joins in prompt i."""

    def __init__(self, shape: tuple[int, ...], batch: list[list[ComposableScheduledPromptConditioning]]) -> None:
        self.shape = shape
        self.batch = batch


class DictWithShape(dict[str, torch.Tensor]):
    def __init__(self, x: dict[str, torch.Tensor], shape: Any = None) -> None:
        super().__init__(x)
        del shape

    @property
    def shape(self) -> torch.Size:
        return self["crossattn"].shape


def get_learned_conditioning(
    model: Any,
    prompts: SdConditioning | list[str],
    steps: int,
    hires_steps: int | None = None,
    use_old_scheduling: bool = False,
) -> list[list[ScheduledPromptConditioning]]:
    """For each prompt its schedule of conditionings [T, D]; equal prompts share one."""
    schedules = get_learned_conditioning_prompt_schedules(prompts, steps, hires_steps, use_old_scheduling)
    known: dict[str, list[ScheduledPromptConditioning]] = {}
    for prompt, schedule in zip(prompts, schedules):
        if prompt not in known:
            conds = model.get_learned_conditioning(
                SdConditioning([str(text) for _, text in schedule], copy_from=prompts)
            )
            rows = [
                {k: v[i] for k, v in conds.items()} if isinstance(conds, dict) else conds[i]
                for i in range(len(schedule))
            ]
            known[prompt] = [ScheduledPromptConditioning(int(end), row) for (end, _), row in zip(schedule, rows)]
    return [known[prompt] for prompt in prompts]


re_AND = re.compile(r"\bAND\b")
re_weight = re.compile(r"^(.*?)(?:\s*:\s*([-+]?(?:\d+\.?|\d*\.\d+)))?\s*$", re.DOTALL)


def get_multicond_prompt_list(
    prompts: SdConditioning | list[str],
) -> tuple[list[list[tuple[int, float]]], SdConditioning, dict[str, int]]:
    """Splits prompts at AND: per prompt (index, weight) of its parts, the different parts, and the index of each."""
    flat = SdConditioning([], copy_from=prompts)
    index_of: dict[str, int] = {}
    all_parts = []
    for prompt in prompts:
        parts = []
        for part in re_AND.split(prompt):
            match = re_weight.search(part)
            text, weight = match.groups() if match is not None else (part, None)
            if text not in index_of:
                index_of[text] = len(flat)
                flat.append(text)
            parts.append((index_of[text], 1.0 if weight is None else float(weight)))
        all_parts.append(parts)
    return all_parts, flat, index_of


def get_multicond_learned_conditioning(
    model: Any,
    prompts: SdConditioning | list[str],
    steps: int,
    hires_steps: int | None = None,
    use_old_scheduling: bool = False,
) -> MulticondLearnedConditioning:
    """Conditioning of prompts in which AND joins weighted parts (Liu et al. 2022, "Compositional visual generation with
    composable diffusion models").
    """
    parts, flat, _ = get_multicond_prompt_list(prompts)
    learned = get_learned_conditioning(model, flat, steps, hires_steps, use_old_scheduling)
    batch = [[ComposableScheduledPromptConditioning(learned[i], weight) for i, weight in part] for part in parts]
    return MulticondLearnedConditioning((len(prompts),), batch)


def _at_step(schedule: list[ScheduledPromptConditioning], step: int) -> Any:
    """The first entry that holds at this step; the first of all past the end."""
    return next((entry.cond for entry in schedule if step <= entry.end_at_step), schedule[0].cond)


def reconstruct_cond_batch(c: list[list[ScheduledPromptConditioning]], current_step: int) -> Any:
    """Conditioning [B, T, D] (or a dict of such) that holds at a step."""
    rows = [_at_step(schedule, current_step) for schedule in c]
    if isinstance(rows[0], dict):
        return DictWithShape({k: torch.stack([row[k] for row in rows]) for k in rows[0]})
    return torch.stack(rows)


def stack_conds(tensors: list[torch.Tensor]) -> torch.Tensor:
    """Stacks [T_i, D]; shorter ones are lengthened by their last row."""
    longest = max(x.shape[0] for x in tensors)
    padded = [
        torch.vstack([x, x[-1:].repeat([longest - x.shape[0], 1])]) if x.shape[0] != longest else x for x in tensors
    ]
    return torch.stack(padded)


def reconstruct_multicond_batch(
    c: MulticondLearnedConditioning, current_step: int
) -> tuple[list[list[tuple[int, float]]], Any]:
    """Per image (row, weight) of its parts, and all parts' conditioning stacked [sum of parts, T, D]."""
    rows: list[Any] = []
    conds_list = []
    for composable in c.batch:
        conds_list.append([(len(rows) + i, part.weight) for i, part in enumerate(composable)])
        rows += [_at_step(part.schedules, current_step) for part in composable]
    if isinstance(rows[0], dict):
        return conds_list, DictWithShape({k: stack_conds([x[k] for x in rows]) for k in rows[0]})
    return conds_list, stack_conds(rows)


_ATTENTION = re.compile(r"\\[()\[\]\\]|\\|[(\[]|:\s*(?P<weight>[+-]?[.\d]+)\s*\)|[)\]]|[^\\()\[\]:]+|:")
_BREAK = re.compile(r"\s*\bBREAK\b\s*", re.DOTALL)
_ROUND, _SQUARE = 1.1, 1 / 1.1


def parse_prompt_attention(text: str) -> list[list[Any]]:
    """Pieces of a prompt with their weights: `(x)` 1.1, `(x:1.5)` 1.5, `[x]` 1/1.1, nested ones multiplied, `\\(`
    literal; BREAK becomes a piece of weight -1. Brackets that are never closed reach to the end.

    >>> parse_prompt_attention("an (important) word")
    [['an ', 1.0], ['important', 1.1], [' word', 1.0]]
    >>> parse_prompt_attention("a BREAK b")
    [['a', 1.0], ['BREAK', -1], ['b', 1.0]]
    """
    pieces: list[list[Any]] = []
    open_round: list[int] = []
    open_square: list[int] = []

    def weigh(start: int, factor: float) -> None:
        for piece in pieces[start:]:
            piece[1] *= factor

    for match in _ATTENTION.finditer(text):
        token, weight = match.group(), match.group("weight")
        if token.startswith("\\"):
            pieces.append([token[1:], 1.0])
        elif token == "(":
            open_round.append(len(pieces))
        elif token == "[":
            open_square.append(len(pieces))
        elif weight is not None and open_round:
            weigh(open_round.pop(), float(weight))
        elif token == ")" and open_round:
            weigh(open_round.pop(), _ROUND)
        elif token == "]" and open_square:
            weigh(open_square.pop(), _SQUARE)
        else:
            for i, part in enumerate(_BREAK.split(token)):
                pieces += [["BREAK", -1]] if i else []
                pieces.append([part, 1.0])
    for start in open_round:
        weigh(start, _ROUND)
    for start in open_square:
        weigh(start, _SQUARE)
    return _merged(pieces) or [["", 1.0]]


def _merged(pieces: list[list[Any]]) -> list[list[Any]]:
    merged: list[list[Any]] = []
    for text, weight in pieces:
        if merged and merged[-1][1] == weight:
            merged[-1][0] += text
        else:
            merged.append([text, weight])
    return merged


__all__ = [
    "ComposableScheduledPromptConditioning",
    "DictWithShape",
    "MulticondLearnedConditioning",
    "ScheduledPromptConditioning",
    "SdConditioning",
    "get_learned_conditioning",
    "get_learned_conditioning_prompt_schedules",
    "get_multicond_learned_conditioning",
    "parse_prompt_attention",
    "reconstruct_cond_batch",
    "reconstruct_multicond_batch",
]
