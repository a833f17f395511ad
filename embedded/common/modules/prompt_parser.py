"""From prompts to conditioning: prompt editing, AND, and the choice of the conditioning that holds at a step.

`[before:after:when]`, `[after:when]` and `[before::when]` change at a step, or with a decimal point at a share of the
steps; `[a|b|c]` alternates; round and other square brackets are passed on as emphasis; `\\` makes a bracket literal.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

Nodes = list["str | _Choice"]
_NUMBER = re.compile(r"\s*[+-]?(?:\d+\.?\d*|\.\d+)\s*")
_AND = re.compile(r"\bAND\b")
_WEIGHT = re.compile(r"(.*?)(?:\s*:\s*([+-]?(?:\d+\.?\d*|\.\d+)))?\s*", re.DOTALL)


class ScheduledPromptConditioning(NamedTuple):
    end_at_step: int
    cond: Any


@dataclass
class ComposableScheduledPromptConditioning:
    schedules: list[ScheduledPromptConditioning]
    weight: float = 1.0


@dataclass
class MulticondLearnedConditioning:
    """`batch[i]` holds the parts that AND joins in prompt i."""

    shape: tuple[int, ...]
    batch: list[list[ComposableScheduledPromptConditioning]]


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
        like = vars(copy_from) if isinstance(copy_from, SdConditioning) else {}
        given = {"is_negative_prompt": is_negative_prompt, "width": width, "height": height}
        vars(self).update({**given, **like})


@dataclass
class _Choice:
    """`when`: the text of the step at which the first option makes way for the second; None where they alternate."""

    options: list[Nodes]
    when: str | None
    last_step: int = 0

    def at(self, step: int) -> Nodes:
        if self.when is None:
            return self.options[(step - 1) % len(self.options)]
        return self.options[step > self.last_step]


class _Reader:
    """One prompt's brackets, matched first, so that what is open to the end costs no more than what is closed."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.ends: dict[int, int] = {}
        still_open: list[int] = []
        for match in re.finditer(r"\\.|[][()]", text):
            place, token = match.start(), match.group()
            if token in "[(":
                still_open.append(place)
            elif partners := [i for i in still_open if text[i] == {"]": "[", ")": "("}.get(token)]:
                self.ends[partners[-1]] = place
                del still_open[still_open.index(partners[-1]) :]

    def nodes(self, start: int, end: int) -> Nodes:
        found: Nodes = []
        while start < end:
            bracket = start
            while bracket < end and not (self.text[bracket] == "[" and bracket in self.ends):
                bracket += 1
            found.append(self.text[start:bracket])
            if bracket == end:
                break
            close = self.ends[bracket]
            choice = self._choice(bracket + 1, close)
            found += ["[", *self.nodes(bracket + 1, close), "]"] if choice is None else [choice]
            start = close + 1
        return found

    def _choice(self, start: int, end: int) -> _Choice | None:
        bars, colons = (self._cuts(start, end, mark) for mark in "|:")
        if bars:
            places = [start - 1, *bars, end]
            return _Choice([self.nodes(a + 1, b) for a, b in zip(places, places[1:])], None)
        if len(colons) not in (1, 2) or not _NUMBER.fullmatch(self.text, colons[-1] + 1, end):
            return None
        before = self.nodes(start, colons[0]) if len(colons) == 2 else []
        after = self.nodes(colons[0] + 1, colons[1]) if len(colons) == 2 else self.nodes(start, colons[0])
        return _Choice([before, after], self.text[colons[-1] + 1 : end].strip())

    def _cuts(self, start: int, end: int, mark: str) -> list[int]:
        """Where `mark` stands outside inner brackets."""
        found, place = [], start
        while place < end:
            if self.text[place] == mark:
                found.append(place)
            place = self.ends[place] + 1 if place in self.ends else place + (2 if self.text[place] == "\\" else 1)
        return found


def _ends(nodes: Nodes, steps: int, base_steps: int | None) -> set[int]:
    """Last steps of all texts. `base_steps` is set in the hires pass: there fractions count from 1.0 and whole numbers
    from the first pass's last step.
    """
    found = {steps}
    for node in nodes:
        if isinstance(node, str):
            continue
        if node.when is None:
            found |= set(range(1, steps + 1))
        else:
            share = "." in node.when
            origin = 0 if base_steps is None else 1 if share else base_steps
            node.last_step = min(steps, int((float(node.when) - origin) * (steps if share else 1)))
            found |= {node.last_step} if node.last_step >= 1 else set()
        for option in node.options:
            found |= _ends(option, steps, base_steps)
    return found


def _text(nodes: Nodes, step: int) -> str:
    return "".join(node if isinstance(node, str) else _text(node.at(step), step) for node in nodes)


def get_learned_conditioning_prompt_schedules(
    prompts: Sequence[str], base_steps: int, hires_steps: int | None = None
) -> list[list[list[int | str]]]:
    """For each prompt its texts in order, each with the last step at which it holds.

    >>> get_learned_conditioning_prompt_schedules(["a [b:3]"], 10)
    [[[3, 'a '], [10, 'a b']]]
    >>> get_learned_conditioning_prompt_schedules(["a [cat:dog:.5]", "[fe|]male"], 2)
    [[[1, 'a cat'], [2, 'a dog']], [[1, 'female'], [2, 'male']]]
    """
    steps, first = (base_steps, None) if hires_steps is None else (hires_steps, base_steps)
    read = [_Reader(prompt).nodes(0, len(prompt)) for prompt in prompts]
    return [[[end, _text(nodes, end)] for end in sorted(_ends(nodes, steps, first))] for nodes in read]


def get_learned_conditioning(
    model: Any, prompts: Sequence[str], steps: int, hires_steps: int | None = None
) -> list[list[ScheduledPromptConditioning]]:
    """For each prompt its schedule of conditionings [T, D]; equal prompts share one."""
    known: dict[str, list[ScheduledPromptConditioning]] = {}
    for prompt, schedule in zip(prompts, get_learned_conditioning_prompt_schedules(prompts, steps, hires_steps)):
        if prompt not in known:
            conds = model.get_learned_conditioning(
                SdConditioning([str(text) for _, text in schedule], copy_from=prompts)
            )
            known[prompt] = [ScheduledPromptConditioning(int(end), cond) for (end, _), cond in zip(schedule, conds)]
    return [known[prompt] for prompt in prompts]


def get_multicond_learned_conditioning(
    model: Any, prompts: Sequence[str], steps: int, hires_steps: int | None = None
) -> MulticondLearnedConditioning:
    """Conditioning of prompts in which AND joins weighted parts (Liu et al. 2022, "Compositional visual generation with
    composable diffusion models").
    """
    split: list[list[tuple[str, float]]] = []
    for prompt in prompts:
        parts = [_WEIGHT.fullmatch(part) for part in _AND.split(prompt)]
        split.append([(part[1], float(part[2] or 1.0)) for part in parts if part is not None])
    texts = list(dict.fromkeys(text for parts in split for text, _ in parts))
    learned = dict(
        zip(texts, get_learned_conditioning(model, SdConditioning(texts, copy_from=prompts), steps, hires_steps))
    )
    batch = [[ComposableScheduledPromptConditioning(learned[text], weight) for text, weight in x] for x in split]
    return MulticondLearnedConditioning((len(batch),), batch)


def _holding(schedule: list[ScheduledPromptConditioning], step: int) -> Any:
    """The first entry that holds at this step; the first of all past the end."""
    return next((entry.cond for entry in schedule if step <= entry.end_at_step), schedule[0].cond)


def reconstruct_cond_batch(c: list[list[ScheduledPromptConditioning]], current_step: int) -> Any:
    """Conditioning [B, T, D] that holds at a step."""
    return torch.stack([_holding(schedule, current_step) for schedule in c])


def reconstruct_multicond_batch(
    c: MulticondLearnedConditioning, current_step: int
) -> tuple[list[list[tuple[int, float]]], Any]:
    """Per image (row, weight) of its parts, and all parts' conditioning stacked [sum of parts, T, D]; shorter ones are
    lengthened by their last row.
    """
    numbers = iter(range(sum(map(len, c.batch))))
    places = [[(next(numbers), part.weight) for part in parts] for parts in c.batch]
    rows = [_holding(part.schedules, current_step) for parts in c.batch for part in parts]
    longest = max(len(row) for row in rows)
    return places, torch.stack([torch.cat([row, row[-1:].expand(longest - len(row), -1)]) for row in rows])
