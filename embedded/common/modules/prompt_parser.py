"""From prompts to conditioning: prompt editing, AND, and the choice of the conditioning that holds at a step.

`[before:after:when]`, `[after:when]` and `[before::when]` change at a step, or with a decimal point at a share of the
steps; `[a|b|c]` alternates; round and other square brackets are passed on as emphasis; `\\` makes a bracket literal.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

# Outside of round brackets, which are not nested here.
_BAR, _COLON = (re.compile(rf"{mark}(?![^()]*\))") for mark in (r"\|", ":"))
_INNERMOST = re.compile(r"\[([^\[\]]*)\]")
# In place of brackets that are kept, and of characters behind a backslash: from Unicode's private planes.
_LITERAL, _OPEN, _CLOSE, _HIDDEN = re.compile(r"\\([\[\]():|\\])"), "\ue000", "\ue001", 0xF0000
_NUMBER = re.compile(r"\s*[+-]?(?:\d+\.?\d*|\.\d+)\s*")
_AND = re.compile(r"\bAND\b")
_WEIGHT = re.compile(r"(.*?)(?:\s*:\s*([+-]?(?:\d+\.?\d*|\.\d+)))?\s*", re.DOTALL)


class Until(NamedTuple):
    """A conditioning [T, D], and the last step at which it holds."""

    end_at_step: int
    cond: Any


Schedule = list[Until]


class Part(NamedTuple):
    """One of those that AND joins."""

    schedules: Schedule
    weight: float


@dataclass
class MulticondLearnedConditioning:
    """`batch[i]` holds the parts of prompt i."""

    batch: list[list[Part]]


class _Steps:
    """Of one pass. `before`: the first pass's, in the hires pass; fractions then count from 1.0, numbers from them."""

    def __init__(self, count: int, before: int | None) -> None:
        self.count, self.before, self.ends = count, before, {count}

    def last_of_first(self, when: str) -> int:
        """The last step at which the first text of "[first:second:when]" holds; noted as the end of a text."""
        is_share = "." in when
        origin = 0 if self.before is None else 1 if is_share else self.before
        last = min(self.count, int((float(when) - origin) * (self.count if is_share else 1)))
        self.ends |= {last} if last >= 1 else set()
        return last

    def chosen(self, inside: str, step: int) -> str:
        """What a pair of brackets becomes at a step. Those that say nothing of steps are emphasis and are kept."""
        options, parts = _BAR.split(inside), _COLON.split(inside)
        if len(options) > 1:
            self.ends |= set(range(1, self.count + 1))
            return options[(step - 1) % len(options)]
        if len(parts) not in (2, 3) or not _NUMBER.fullmatch(parts[-1]):
            return f"{_OPEN}{inside}{_CLOSE}"
        first, second = parts[:2] if len(parts) == 3 else ("", parts[0])
        return second if step > self.last_of_first(parts[-1]) else first

    def text(self, prompt: str, step: int) -> str:
        """From the innermost brackets outwards."""
        text = _LITERAL.sub(lambda found: chr(_HIDDEN + ord(found[1])), prompt)
        while (resolved := _INNERMOST.sub(lambda found: self.chosen(found[1], step), text)) != text:
            text = resolved
        text = text.replace(_OPEN, "[").replace(_CLOSE, "]")
        return "".join(f"\\{chr(ord(x) - _HIDDEN)}" if ord(x) >= _HIDDEN else x for x in text)


def get_learned_conditioning_prompt_schedules(prompts, base_steps, hires_steps=None) -> list[list[list[int | str]]]:
    """For each prompt its texts in order, each with the last step at which it holds.

    >>> get_learned_conditioning_prompt_schedules(["a [b:3]"], 10)
    [[[3, 'a '], [10, 'a b']]]
    >>> get_learned_conditioning_prompt_schedules(["a [cat:dog:.5]", "[fe|]male"], 2)
    [[[1, 'a cat'], [2, 'a dog']], [[1, 'female'], [2, 'male']]]
    """
    found = []
    for prompt in prompts:
        steps = _Steps(base_steps, None) if hires_steps is None else _Steps(hires_steps, base_steps)
        steps.text(prompt, 1)
        found.append([[end, steps.text(prompt, end)] for end in sorted(steps.ends)])
    return found


def get_learned_conditioning(model, prompts, steps, hires_steps=None) -> list[Schedule]:
    """For each prompt its schedule of conditionings [T, D]; equal prompts share one."""
    known: dict[str, Schedule] = {}
    for prompt in dict.fromkeys(prompts):
        ends, texts = zip(*get_learned_conditioning_prompt_schedules([prompt], steps, hires_steps)[0])
        known[prompt] = list(map(Until, ends, model.get_learned_conditioning(list(texts))))
    return [known[prompt] for prompt in prompts]


def get_multicond_learned_conditioning(model, prompts, steps, hires_steps=None) -> MulticondLearnedConditioning:
    """Of prompts in which AND joins weighted parts (Liu et al. 2022, "Compositional visual generation ...")."""
    batch = []
    for prompt in prompts:
        found = [_WEIGHT.fullmatch(part) for part in _AND.split(prompt)]
        texts, weights = zip(*((part[1], float(part[2] or 1.0)) for part in found if part is not None))
        batch.append([*map(Part, get_learned_conditioning(model, texts, steps, hires_steps), weights)])
    return MulticondLearnedConditioning(batch)


def _holding(schedule: Schedule, step: int) -> Any:
    """The first entry that holds at this step; the first of all past the end."""
    return next((cond for end, cond in schedule if step <= end), schedule[0][1])


def reconstruct_cond_batch(c: list[Schedule], current_step: int) -> Any:
    """Conditioning [B, T, D] that holds at a step."""
    return torch.stack([_holding(schedule, current_step) for schedule in c])


def reconstruct_multicond_batch(c, current_step) -> tuple[list[list[tuple[int, float]]], Any]:
    """Per image (row, weight) of its parts, and all parts' conditioning [rows, T, D], lengthened by its last row."""
    numbers = itertools.count()
    places = [[(next(numbers), part.weight) for part in parts] for parts in c.batch]
    rows = [_holding(part.schedules, current_step) for parts in c.batch for part in parts]
    longest = max(len(row) for row in rows)
    return places, torch.stack([torch.cat([row, row[-1:].expand(longest - len(row), -1)]) for row in rows])
