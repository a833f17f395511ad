"""Settings: their defaults, their values, and the file that keeps them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modules import errors


@dataclass(eq=False)
class OptionInfo:
    """One setting."""

    default: Any = None
    label: str = ""
    onchange: Callable[[], Any] | None = None
    infotext: str | None = None


class Options:
    """Settings as attributes. What a request changes of one that was never saved is not taken back, as on the hosts."""

    data: dict[str, Any]
    data_labels: dict[str, OptionInfo]

    def __init__(self, data_labels: dict[str, OptionInfo]) -> None:
        vars(self).update(data_labels=data_labels, data={name: info.default for name, info in data_labels.items()})

    def __getattr__(self, name: str) -> Any:
        data, info = vars(self).get("data", {}), vars(self).get("data_labels", {}).get(name)
        if info is None and name not in data:
            raise AttributeError(f"There is no setting {name!r}")
        return data.get(name, info and info.default)

    def __setattr__(self, name: str, value: Any) -> None:
        is_setting = name in self.data_labels or name in self.data
        (self.data if is_setting else vars(self))[name] = value

    def set(self, key: str, value: Any, is_api: bool = False, run_callbacks: bool = True) -> bool:
        """Whether it was changed: not to a value that it has already, nor to one that its `onchange` fails at."""
        before, follow = self.data.get(key), self.data_labels[key].onchange
        if value == before:
            return False
        self.data[key] = value
        if follow is not None and run_callbacks:
            try:
                follow()
            except Exception as fault:  # as the hosts do: it is shown, and the request goes on
                errors.display(fault, f"changing {key} to {value}")
                self.data[key] = before
                return False
        return True

    def onchange(self, key: str, func: Callable[[], Any], call: bool = True) -> None:
        self.data_labels[key].onchange = func
        if call:
            func()

    def load(self, filename: str) -> None:
        """Saved values alone; none where there is no file. ValueError for one that is not JSON."""
        file = Path(filename)
        vars(self)["data"] = json.loads(file.read_text("utf-8")) if file.exists() else {}

    def save(self, filename: str) -> None:
        Path(filename).write_text(json.dumps(self.data, indent=1), "utf-8")

    def dumpjson(self) -> str:
        return json.dumps({name: getattr(self, name) for name in self.data_labels})

    def cast_value(self, key: str, value: Any) -> Any:
        """What an infotext says of a setting, as its default is: text becomes a number or a flag."""
        default = self.data_labels[key].default
        if isinstance(default, bool):
            return str(value) != "False"
        return value if default is None else type(default)(value)
