"""What the recorder's script imports: executed once in a process, however often scripts are reloaded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from modules import scripts

executions: list[str] = []
"""One entry each time a script file is executed."""

events: list[tuple[str, Any]] = []
"""Hooks and callbacks in the order in which they ran."""

actions: dict[str, Callable[..., Any]] = {}
"""What a hook or callback of that name does besides being recorded; may raise."""

uis: list[bool] = []
"""One entry, is_img2img, for each call of the recorder's `ui`."""


def record(name: str, *args: Any) -> None:
    events.append((name, args))
    if name in actions:
        actions[name](*args)


class ImportedBase(scripts.Script):
    """Imported into the script file, so the host registers it too."""

    def title(self) -> str:
        return "Imported base"

    def show(self, is_img2img: bool) -> bool:
        return False
