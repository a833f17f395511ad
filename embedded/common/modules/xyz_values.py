"""Values of an axis of the X/Y/Z plot: texts as they are typed or chosen, ranges among them, and their types.

The grammar is the host's, gaps included: an integer range in steps down ends above its last number; the point of a
float is any character.
"""

from __future__ import annotations

import csv
import io
import itertools
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from modules.xyz_axis import NOTHING, Axis

_INT, _FLOAT = r"[+-]?\s*\d+", r"[+-]?\s*\d+(?:.\d*)?"
_INT_STEPS = re.compile(rf"\s*({_INT})\s*-\s*({_INT})(?:\s*\(([+-]\d+)\s*\))?\s*")
_INT_COUNT = re.compile(rf"\s*({_INT})\s*-\s*({_INT})\s*\[(\d+)\s*]\s*")
_FLOAT_STEPS = re.compile(rf"\s*({_FLOAT})\s*-\s*({_FLOAT})(?:\s*\(([+-]\d+(?:.\d*)?)\s*\))?\s*")
_FLOAT_COUNT = re.compile(rf"\s*({_FLOAT})\s*-\s*({_FLOAT})\s*\[(\d+(?:.\d*)?)\s*]\s*")


def list_to_csv_string(data_list: Any) -> str:
    out = io.StringIO()
    csv.writer(out).writerow(data_list)
    return out.getvalue().strip()


def csv_string_to_list_strip(data_str: str) -> list[str]:
    rows = csv.reader(io.StringIO(data_str), skipinitialspace=True)
    return [value.strip() for row in rows for value in row]


def str_permutations(x: Any) -> Any:
    """As an axis's type: its values are the orders in which the texts can stand."""
    return x


def _ints(text: str) -> list[Any]:
    if found := _INT_STEPS.fullmatch(text):
        first, last, step = found.groups()
        return list(range(int(first), int(last) + 1, int(step or 1)))
    if found := _INT_COUNT.fullmatch(text):
        return [int(x) for x in np.linspace(*map(int, found.groups())).tolist()]
    return [text]


def _floats(text: str) -> list[Any]:
    if found := _FLOAT_STEPS.fullmatch(text):
        first, last, step = (float(x or 1) for x in found.groups())
        return np.arange(first, last + step, step).tolist()
    if found := _FLOAT_COUNT.fullmatch(text):
        first, last, count = found.groups()
        return np.linspace(float(first), float(last), int(count)).tolist()
    return [text]


def _expanded(kind: Any, texts: list[str]) -> list[Any]:
    if kind == str_permutations:
        return list(itertools.permutations(texts))
    ranges: dict[Any, Callable[[str], list[Any]]] = {int: _ints, float: _floats}
    if kind in ranges:
        return [value for text in texts if text.strip() for value in ranges[kind](text)]
    return texts


def read_values(p: Any, axis: Axis, text: str, chosen: list[str], csv_mode: bool) -> list[Any]:
    """The axis's values in its type, confirmed; what does not fit raises here, before anything runs."""
    if axis.label == NOTHING:
        return [0]
    read = axis.prepare or csv_string_to_list_strip
    texts = chosen if axis.is_chosen(csv_mode) else read(text)
    values = [axis.type(x) for x in _expanded(axis.type, texts)]
    if axis.confirm:
        axis.confirm(p, values)
    return values
