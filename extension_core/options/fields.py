"""What one argument is: its kind, its bounds and its words, and the check of a value against them."""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from extension_core.errors import DiversityError

Kind = Literal["flag", "model", "choice", "whole", "whole_or_null", "number", "sampler", "text", "numbers", "frames"]

INFOTEXT_PREFIX = "DD"


@dataclass(frozen=True)
class Field:
    """What the panel, the API and the infotext need to know about one argument.

    Attributes:
        key: in the API's dict, "" if it is the name.
        api_only: whether the page has no component for it.
        short: what a grid's legend says before a value, "" where the value speaks for itself.
        empty: the word for no value, on an axis.
        zero: what the page's slider means by 0, where it stands for no value.
        on_page: what the page begins with, where that is another value than requests have that leave it out.
        earlier_labels: what it was called before, under which a host may keep what the user has saved as its start.
        cost: how long another value keeps the next image waiting, 0 to 1 as the host's X/Y/Z plot counts it.
    """

    name: str
    kind: Kind
    label: str
    tooltip: str
    choices: tuple[str, ...] = ()
    minimum: float = 0.0
    maximum: float = math.inf
    key: str = ""
    api_only: bool = False
    short: str = ""
    cost: float = 0.0
    empty: str = "same"
    zero: str = ""
    on_page: Any = None
    earlier_labels: tuple[str, ...] = ()

    @property
    def api_key(self) -> str:
        """Key of this argument in the API's dict."""
        return self.key or self.name

    @property
    def infotext_key(self) -> str:
        """Key of this argument in the host's infotext, e.g. `DD switch step`."""
        return f"{INFOTEXT_PREFIX} {self.words}"

    @property
    def words(self) -> str:
        """The name as words, e.g. `base CFG`."""
        return self.name.replace("_", " ").replace("cfg", "CFG").replace("lora", "LoRA")

    def as_shown(self, value: Any) -> Any:
        """A value as its component on the page holds it: that has no empty state."""
        if self.kind == "model":
            return value or "None"
        return 0 if value is None else value


def infotext_value(value: Any) -> str:
    """A value as the hosts' infotext is to hold it, so that what is read back is the same.

    The hosts quote commas, colons and ends of lines (modules/infotext_utils.py `quote`, 1.10.1), but read as a quoted
    value whatever stands in quotes, and strip blanks before a value and at the text's end.
    """
    if isinstance(value, float):
        short = f"{value:g}"
        return short if float(short) == value else repr(value)
    text = str(value)
    host_quotes = any(sign in text for sign in ",:\n")
    in_quotes = len(text) > 1 and text[0] == text[-1] == '"'
    if not host_quotes and (in_quotes or text != text.strip()):
        return json.dumps(text, ensure_ascii=False)
    return text


def infotext_found(parsed: Mapping[str, Any], key: str) -> Any:
    """A key's value among what a host has read of an infotext, None if it has none.

    What looks like a size, such as 512x512, the host takes apart (`parse_generation_parameters`, 1.10.1).
    """
    if f"{key}-1" in parsed and f"{key}-2" in parsed:
        return f"{parsed[f'{key}-1']}x{parsed[f'{key}-2']}"
    return parsed.get(key)


def option(default: Any, kind: Kind, label: str, tooltip: str, **limits: Any) -> Any:
    """A dataclass field with what `Field` wants to know in its metadata."""
    return field(default=default, metadata={"kind": kind, "label": label, "tooltip": tooltip, **limits})


def unknown_key(key: str, known: Iterable[str]) -> DiversityError:
    """The refusal of an argument that does not exist; names the nearest one."""
    nearest = difflib.get_close_matches(key, known, n=1, cutoff=0.0)[0]
    return DiversityError(f"Diversity Distillation does not know the argument '{key}'; did you mean '{nearest}'?")


def parse_value(spec: Field, value: Any) -> Any:
    """Check one value against its field and return it in its type; strings from infotext or the page are accepted.

    Raises:
        DiversityError: names the argument, the value found and what is allowed.
    """
    if spec.kind == "flag":
        return _parse_flag(spec, value)
    if spec.kind == "choice":
        return _parse_choice(spec, value)
    if spec.kind in ("model", "sampler"):
        return _parse_name(spec, value)
    if spec.kind == "text":
        return _parse_text(spec, value)
    if spec.kind == "numbers":
        return _parse_numbers(spec, value)
    if spec.kind == "frames":
        return _parse_frames(spec, value)
    if spec.kind == "whole_or_null" and value in (None, "", spec.empty, "None"):
        return None
    number = _parse_number(spec, value)
    if spec.kind in ("whole", "whole_or_null"):
        if not number.is_integer():
            raise _refusal(spec, value, "a whole number")
        return int(number)
    return number


def _parse_flag(spec: Field, value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, int) and value in (0, 1):
        return bool(value)
    if isinstance(value, str) and value.strip().lower() in ("true", "false"):
        return value.strip().lower() == "true"
    raise _refusal(spec, value, "true or false")


def _parse_choice(spec: Field, value: Any) -> str:
    if isinstance(value, str) and value.strip().lower().replace(" ", "_") in spec.choices:
        return value.strip().lower().replace(" ", "_")
    raise _refusal(spec, value, "one of " + ", ".join(spec.choices))


def _parse_name(spec: Field, value: Any) -> str:
    if value is None or (isinstance(value, str) and value.strip().lower() in ("", "none")):
        return "same" if spec.kind == "sampler" else ""
    if isinstance(value, str):
        return value.strip()
    raise _refusal(spec, value, "a name")


def _parse_text(spec: Field, value: Any) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    raise _refusal(spec, value, "a text")


def _parse_numbers(spec: Field, value: Any) -> tuple[float, ...]:
    """A list, or a text with commas between."""
    if isinstance(value, str):
        value = [part for part in value.split(",") if part.strip()]
    if value is None:
        return ()
    if not isinstance(value, Sequence) or isinstance(value, bytes):
        raise _refusal(spec, value, f"a list of numbers from {spec.minimum:g} to {spec.maximum:g}")
    return tuple(_parse_number(spec, one) for one in cast("Sequence[Any]", value))


def _parse_frames(spec: Field, value: Any) -> tuple[int, ...] | None:
    """None stands for all of them; negative numbers count from the last one."""
    if value is None or (isinstance(value, str) and value.strip().lower() == "all"):
        return None
    listed = list(cast("Sequence[Any]", value)) if isinstance(value, Sequence) else None
    if listed is not None and not isinstance(value, (str, bytes)) and all(map(_is_whole, listed)):
        return tuple(map(int, listed))
    raise _refusal(spec, value, '"all" or a list of whole numbers')


def _is_whole(value: Any) -> bool:
    if isinstance(value, float):
        return value.is_integer()
    return isinstance(value, int) and not isinstance(value, bool)


def _parse_number(spec: Field, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise _refusal(spec, value, _range(spec))
    try:
        number = float(value)
    except (ValueError, OverflowError):
        raise _refusal(spec, value, _range(spec)) from None
    if not (math.isfinite(number) and spec.minimum <= number <= spec.maximum):
        raise _refusal(spec, value, _range(spec))
    return number


def _range(spec: Field) -> str:
    what = "a number" if spec.kind == "number" else "a whole number"
    return f"{what} from {spec.minimum:g} to {spec.maximum:g}"


def _refusal(spec: Field, value: Any, allowed: str) -> DiversityError:
    return DiversityError(f"{spec.name} of Diversity Distillation is {value!r:.80}; it must be {allowed}.")
