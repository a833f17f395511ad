"""Tables of cases of which each run takes a few: what else they hold runs on one stack, or by `--slow` alone.

Against a real host every case runs unless `-m` says otherwise.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import pytest

Mark = pytest.MarkDecorator


def marked_but(few: Collection[Any], values: Iterable[Any], mark: Mark) -> list[Any]:
    """Every value as a parameter of a test; all but a few carry the mark.

    Raises:
        ValueError: one of the few is not among the values, so that the table names something it lost.
    """
    cases = list(values)
    if lost := [one for one in few if one not in cases]:
        raise ValueError(f"{lost} are not among the cases.")
    return [case if case in few else pytest.param(case, marks=mark) for case in cases]
