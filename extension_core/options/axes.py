"""The options as axes of the hosts' X/Y/Z plot, one for each: its name, its values as they are typed, its labels. Pure.

An axis of the host's own says of numbers that they are `int` or `float`, and then what cannot be read is an error of
Python's. Ours read their values themselves, by the same grammar (scripts/xyz_grid.py, 1.10.1): lists with commas,
ranges `0-4` and `1-7 (+1.5)`, counts `1-7 [4]`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import PurePath
from typing import Any

from extension_core.errors import DiversityError
from extension_core.options.fields import Field, parse_value
from extension_core.options.hybrid import FIELDS
from extension_core.options.model_names import without_kind, without_suffix

PREFIX = "[Diversity]"
MOST_VALUES = 1000
_LONGEST_LABEL = 32

_NUMBER = r"\s*([+-]?(?:\d{1,9}(?:\.\d{0,9})?|\.\d{1,9}))\s*"
_RANGE = re.compile(rf"{_NUMBER}-{_NUMBER}(?:\({_NUMBER}\)|\[\s*(\d{{1,9}})\s*\])?\s*", re.ASCII)
_NUMBERS = ("whole", "whole_or_null", "number")


@dataclass(frozen=True)
class Axis:
    """One option as an axis."""

    spec: Field

    @property
    def label(self) -> str:
        """Name in the drop-down, e.g. `[Diversity] Base CFG`; infotexts hold it, so it stays."""
        words = self.spec.words
        return f"{PREFIX} {words[0].upper()}{words[1:]}"

    @property
    def is_number(self) -> bool:
        """Whether values are typed, with ranges, instead of chosen."""
        return self.spec.kind in _NUMBERS

    def values(self, text: str) -> list[str]:
        """The single values of what was typed for a number.

        Raises:
            DiversityError: there are none, a range cannot be read, or it has too many.
        """
        parts = text.replace("\n", ",").split(",")
        found = [value for part in parts if part.strip() for value in self._expanded(part.strip())]
        if not found:
            raise DiversityError(f"The axis '{self.label}' has no values; write some, such as {self._example()}.")
        return found

    def read(self, value: Any) -> Any:
        """One value in its type.

        Raises:
            DiversityError: it is not allowed.
        """
        return parse_value(self.spec, value)

    def title(self, value: Any) -> str:
        """The legend of a value, short enough to stand above a column."""
        shown = f"{value:g}" if isinstance(value, float) else self.spec.empty if value is None else str(value)
        if self.spec.kind == "model":
            shown = _file_name(shown) or "none"
        if self.spec.kind == "flag":
            return self.spec.short if value else f"no {self.spec.short}"
        text = f"{self.spec.short}: {shown}" if self.spec.short else shown
        return text if len(text) <= _LONGEST_LABEL else f"{text[: _LONGEST_LABEL - 1]}…"

    def _expanded(self, part: str) -> Iterator[str]:
        found = _RANGE.fullmatch(part)
        if found is None:
            yield part
            return
        first, last, step, count = found.groups()
        ends = Decimal(first), Decimal(last)
        default = 1 if ends[1] >= ends[0] else -1
        yield from self._counted(*ends, int(count)) if count else self._stepped(*ends, Decimal(step or default))

    def _stepped(self, first: Decimal, last: Decimal, step: Decimal) -> Iterator[str]:
        if step == 0 or (last - first) * step < 0:
            raise self._unreadable(f"a range in steps of {step:.6g}", "lead from its first value to its last")
        yield from self._bounded((last - first) // step + 1, lambda i: first + i * step)

    def _counted(self, first: Decimal, last: Decimal, count: int) -> Iterator[str]:
        """As many as wanted, evenly; whole numbers are cut, as the host cuts them."""
        apart = (last - first) / max(count - 1, 1)
        whole = self.spec.kind != "number"

        def at(index: int) -> Decimal:
            value = first + index * apart
            return Decimal(int(value)) if whole else value

        yield from self._bounded(Decimal(count), at)

    def _bounded(self, count: Decimal, value: Callable[[int], Decimal]) -> Iterator[str]:
        if not 0 < count <= MOST_VALUES:
            raise self._unreadable(f"a range of {int(count)} values", f"have 1 to {MOST_VALUES}")
        yield from (f"{float(value(i)):.10g}" for i in range(int(count)))

    def _unreadable(self, found: str, must: str) -> DiversityError:
        return DiversityError(f"The axis '{self.label}' has {found}; a range must {must}, such as {self._example()}.")

    def _example(self) -> str:
        return "1.0-7.0 (+1.5)" if self.spec.kind == "number" else "0-4"


def _file_name(label: str) -> str:
    """A model's name without folder, kind, file's ending and hash."""
    return without_suffix(PurePath(without_kind(label).replace("\\", "/")).name)


AXES: tuple[Axis, ...] = tuple(Axis(spec) for spec in FIELDS)
