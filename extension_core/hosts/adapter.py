"""Picks the adapter for the host at hand, by capability."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from extension_core.errors import DiversityError
from extension_core.hosts.refusal import refuse
from extension_core.ui.panel import build_disabled


@dataclass(frozen=True)
class Adapter:
    """What the doorway calls.

    Attributes:
        register: callbacks of the host; on every execution of the script, for "Reload UI" clears them.
        note_setting: keeps a component of the host's that the plan line depends on.
        build_panel: builds the accordion, returns its inputs in the options' order.
        begin: settles a request.
        before_sampling: takes over the pass that is about to run.
    """

    register: Callable[[], None]
    note_setting: Callable[[dict[str, Any], Any, str | None, bool], None]
    build_panel: Callable[[Any, dict[str, Any]], list[Any]]
    begin: Callable[[Any, Sequence[Any]], None]
    before_sampling: Callable[[Any], None]


def choose() -> Adapter:
    """The adapter for this host, or one that only says why there is none."""
    if importlib.util.find_spec("modules_forge") is not None:
        return unavailable(
            "Diversity Distillation does not support Forge yet: this host has 'modules_forge'; use AUTOMATIC1111 1.10 "
            "or newer until it does."
        )
    from extension_core.hosts.a1111 import capabilities

    missing = capabilities.missing()
    if missing:
        return unavailable(
            "Diversity Distillation needs AUTOMATIC1111 1.10 or newer; this host lacks "
            f"{', '.join(missing[:3])}: update it or remove the extension."
        )
    from extension_core.hosts.a1111 import model, request, ui

    return Adapter(model.watch_model_changes, ui.note_setting, ui.build, request.begin, request.before_sampling)


def unavailable(sentence: str) -> Adapter:
    """An adapter that shows the sentence on the page and answers requests over the API with it."""

    def build_panel(script: Any, _settings: dict[str, Any]) -> list[Any]:
        return [build_disabled(sentence, script.elem_id)]

    def begin(p: Any, args: Sequence[Any]) -> None:
        if args and args[0]:
            refuse(p, DiversityError(sentence))

    return Adapter(lambda: None, lambda *_: None, build_panel, begin, lambda _p: None)
