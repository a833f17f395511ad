"""Prompt editing: which text holds at which step.

Syntax: `[before:after:when]` (also `[after:when]`, `[before::when]`), `[a|b|c]` alternating each step, `(...)` and
`[...]` passed on as emphasis, `\\` before a bracket to take it literally. `when` is a step, or with a decimal point a
fraction of the steps. What does not parse stays literal; a `|` outside square brackets makes the host take the whole
prompt literally.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Union

Node = Union[str, "Scheduled", "Alternate"]
Nodes = list[Node]
_NUMBER = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*\]")
_PLAIN = re.compile(r"(?:[^\\\[\]():|]|\\.)+")


@dataclass
class Scheduled:
    before: Nodes
    after: Nodes
    when: str
    step: int = 0


@dataclass
class Alternate:
    options: list[Nodes]


class StrayBar(ValueError):
    """A `|` stands outside square brackets."""


class _Parser:
    """Recursive descent with the result at each position remembered, so that unbalanced brackets cost no more than
    balanced ones.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.known: dict[int, tuple[Nodes, int]] = {}

    def at(self, i: int) -> str:
        return self.text[i] if i < len(self.text) else ""

    def whole(self) -> Nodes:
        nodes: Nodes = []
        i = 0
        while i < len(self.text):
            inner, i = self.prompt(i)
            nodes += inner
            if i < len(self.text):
                if self.text[i] in "|\\":
                    raise StrayBar(self.text)
                nodes.append(self.text[i])
                i += 1
        return nodes

    def prompt(self, i: int) -> tuple[Nodes, int]:
        """As many items as follow one another from position i, and where they end."""
        if i not in self.known:
            nodes: Nodes = []
            j = i
            while (item := self.item(j)) is not None:
                nodes += item[0]
                j = item[1]
            self.known[i] = nodes, j
        return self.known[i]

    def item(self, i: int) -> tuple[Nodes, int] | None:
        if (plain := _PLAIN.match(self.text, i)) is not None:
            return [plain.group()], plain.end()
        if self.at(i) == "(":
            return self.round(i)
        if self.at(i) == "[":
            return self.square(i)
        return None

    def round(self, i: int) -> tuple[Nodes, int] | None:
        first, j = self.prompt(i + 1)
        nodes: Nodes = ["(", *first]
        if self.at(j) == ":":
            second, j = self.prompt(j + 1)
            nodes += [":", *second]
        return ([*nodes, ")"], j + 1) if self.at(j) == ")" else None

    def square(self, i: int) -> tuple[Nodes, int] | None:
        first, j = self.prompt(i + 1)
        if self.at(j) == "]":
            return ["[", *first, "]"], j + 1
        if self.at(j) == "|":
            return self.alternate(first, j)
        return self.scheduled(first, j) if self.at(j) == ":" else None

    def alternate(self, first: Nodes, j: int) -> tuple[Nodes, int] | None:
        options = [first]
        while self.at(j) == "|":
            option, j = self.prompt(j + 1)
            options.append(option)
        return ([Alternate(options)], j + 1) if self.at(j) == "]" else None

    def scheduled(self, first: Nodes, j: int) -> tuple[Nodes, int] | None:
        if (number := _NUMBER.match(self.text, j + 1)) is not None:
            return [Scheduled([], first, number.group(1))], number.end()
        second, j = self.prompt(j + 1)
        number = _NUMBER.match(self.text, j + 1) if self.at(j) == ":" else None
        return ([Scheduled(first, second, number.group(1))], number.end()) if number is not None else None


def _inside(nodes: Nodes) -> Iterator[Scheduled | Alternate]:
    for node in nodes:
        if isinstance(node, Scheduled):
            yield node
            yield from _inside(node.before)
            yield from _inside(node.after)
        elif isinstance(node, Alternate):
            yield node
            for option in node.options:
                yield from _inside(option)


def _when_in_steps(when: str, steps: int, base_steps: int | None, old: bool) -> int:
    """`base_steps` is set in the hires pass: there fractions count from 1.0 and whole numbers from the first pass's
    last step.
    """
    value = float(when)
    if old:
        value = value * steps if value < 1 else value
    elif "." in when:
        value = (value - (0.0 if base_steps is None else 1.0)) * steps
    else:
        value -= base_steps or 0
    return min(steps, int(value))


def _text_at(nodes: Nodes, step: int) -> str:
    parts = []
    for node in nodes:
        if isinstance(node, Scheduled):
            parts.append(_text_at(node.before if step <= node.step else node.after, step))
        elif isinstance(node, Alternate):
            parts.append(_text_at(node.options[(step - 1) % len(node.options)], step))
        else:
            parts.append(node)
    return "".join(parts)


def _schedule(prompt: str, steps: int, base_steps: int | None, old: bool) -> list[list[int | str]]:
    try:
        nodes = _Parser(prompt).whole()
    except StrayBar:
        return [[steps, prompt]]
    ends = {steps}
    for node in _inside(nodes):
        if isinstance(node, Alternate):
            ends.update(range(1, steps + 1))
        else:
            node.step = _when_in_steps(node.when, steps, base_steps, old)
            if node.step >= 1:
                ends.add(node.step)
    return [[end, _text_at(nodes, end)] for end in sorted(ends)]


def get_learned_conditioning_prompt_schedules(
    prompts: Sequence[str], base_steps: int, hires_steps: int | None = None, use_old_scheduling: bool = False
) -> list[list[list[int | str]]]:
    """For each prompt its texts in order, each with the last step at which it holds.

    >>> get_learned_conditioning_prompt_schedules(["a [b:3]"], 10)
    [[[3, 'a '], [10, 'a b']]]
    >>> get_learned_conditioning_prompt_schedules(["a [cat:dog:.5]", "[fe|]male"], 2)
    [[[1, 'a cat'], [2, 'a dog']], [[1, 'female'], [2, 'male']]]
    """
    first_pass = hires_steps is None or use_old_scheduling
    steps = base_steps if hires_steps is None or use_old_scheduling else hires_steps
    return [_schedule(prompt, steps, None if first_pass else base_steps, use_old_scheduling) for prompt in prompts]
