"""Which cases a run on the embedded WebUI takes on which stack, as a request or a page costs the same on either.

- Each file's first test runs on both stacks, each other on one of them, in turns.
- Of a table the first case runs wherever its test does; of the others the second on A1111's stack, the sixth on
  Forge's, and so on. Of what only one stack can run every other case has its turn.

`--slow` runs the rest, and against a real host everything runs.
"""

from __future__ import annotations

import itertools
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from tests.e2e.flavour import flavour_under_test

STACKS = ("a1111", "forge")
_TURNS = ("a1111", "", "", "", "forge", "", "", "")
# Marks of what one stack alone can run, and which.
_ALONE = {"a1111": "a1111", "once": "a1111", "forge": "forge"}


def take_turns(items: Iterable[pytest.Item], folder: Path) -> None:
    """Mark what is left out of a folder's tests as slow; against a real host nothing is."""
    if not os.environ.get("DD_WEBUI_URL"):
        for item in left_out([item for item in items if folder in item.path.parents], flavour_under_test()):
            item.add_marker("slow")


def left_out(items: Iterable[pytest.Item], stack: str) -> Iterator[pytest.Item]:
    """The cases whose turn it is not on this stack."""
    files: dict[Path, dict[str, list[pytest.Item]]] = defaultdict(lambda: defaultdict(list))
    for item in items:
        if not item.get_closest_marker("slow"):
            files[item.path][item.nodeid.partition("[")[0]].append(item)
    for tests in files.values():
        places = itertools.count()
        for first, *others in tests.values():
            at = next(places) if len(_stacks(first)) > 1 else 0
            if at and STACKS[at % 2] != stack:
                yield first
            yield from (item for place, item in enumerate(others) if not _takes(place, _stacks(item), stack))


def _stacks(item: pytest.Item) -> set[str]:
    """Where a case can run."""
    marked = [stack for mark, stack in _ALONE.items() if item.get_closest_marker(mark)]
    return set(marked or STACKS)


def _takes(place: int, stacks: set[str], stack: str) -> bool:
    return place % 2 == 0 if len(stacks) == 1 else _TURNS[place % len(_TURNS)] == stack
