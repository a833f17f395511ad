"""What an axis of the X/Y/Z plot is, and how it writes its values into legends."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

NOTHING = "Nothing"


def _rounded(x: Any) -> Any:
    return round(x, 8) if type(x) is float else x


def format_value_add_label(p: Any, opt: Any, x: Any) -> str:
    return f"{opt.label}: {_rounded(x)}"


def format_value(p: Any, opt: Any, x: Any) -> Any:
    return _rounded(x)


def format_value_join_list(p: Any, opt: Any, x: Any) -> str:
    return ", ".join(x)


def format_nothing(p: Any, opt: Any, x: Any) -> str:
    return ""


def format_remove_path(p: Any, opt: Any, x: str) -> str:
    return os.path.basename(x)


@dataclass(eq=False)
class Axis:
    """`type` makes a value of a text, `apply(cell, value, all values)` changes a cell's request, `confirm(p, values)`
    raises before anything runs. The axis of the highest `cost` changes least often.
    """

    label: str
    type: Any
    apply: Callable[[Any, Any, Any], Any]
    format_value: Callable[[Any, Any, Any], Any] = format_value_add_label
    confirm: Callable[[Any, list[Any]], Any] | None = None
    cost: float = 0.0
    choices: Callable[[], list[str]] | None = None
    prepare: Callable[[str], list[str]] | None = None

    def is_chosen(self, csv_mode: bool) -> bool:
        """Whether its values come from the drop-down."""
        return self.choices is not None and not csv_mode


class AxisInfo(NamedTuple):
    """What the running plot tells of an axis, in `state.xyz_plot_x` and the like."""

    axis: Axis
    values: list[Any]
