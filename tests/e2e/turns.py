"""Of a table's cases a run on the embedded WebUI takes the first, and of the others those whose turn it is.

A table tells one thing many times, and a request costs the same on either stack. So the second case runs on A1111's
stack, the fourth on Forge's, the third and fifth by `--slow`, and so on; what only one stack can run takes every other
turn. Against a real host every case runs.

Of the page tests each file's first runs on both stacks, and every other of its others on each: the page's JavaScript is
the same, and what differs is how gradio draws the host's own components.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

STACKS = ("a1111", "forge")
_TURNS = ("a1111", "", "forge", "")
# Marks of what one stack alone can run, and which.
_ALONE = {"a1111": "a1111", "once": "a1111", "forge": "forge"}


def left_out(items: Iterable[pytest.Item], stack: str) -> Iterator[pytest.Item]:
    """The cases whose turn it is not on this stack; in each table the first never is."""
    tables: dict[str, list[pytest.Item]] = defaultdict(list)
    for item in items:
        if not item.get_closest_marker("slow"):
            tables[item.nodeid.partition("[")[0]].append(item)
    for cases in tables.values():
        for at, item in enumerate(cases[1:]):
            if not _takes(at, _stacks(item), stack):
                yield item


def every_other(items: Iterable[pytest.Item], stack: str) -> Iterator[pytest.Item]:
    """The page tests whose turn it is on the other stack; what one stack alone can run always has its turn."""
    files: dict[Path, list[pytest.Item]] = defaultdict(list)
    for item in items:
        if not item.get_closest_marker("slow") and len(_stacks(item)) > 1:
            files[item.path].append(item)
    for tests in files.values():
        yield from (item for at, item in enumerate(tests) if at and STACKS[at % 2] != stack)


def _stacks(item: pytest.Item) -> set[str]:
    """Where a case can run."""
    marked = [stack for mark, stack in _ALONE.items() if item.get_closest_marker(mark)]
    return set(marked or STACKS)


def _takes(at: int, stacks: set[str], stack: str) -> bool:
    return at % 2 == 0 if len(stacks) == 1 else _TURNS[at % len(_TURNS)] == stack
