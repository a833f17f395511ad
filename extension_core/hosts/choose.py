"""Which kind of host this is, told by what it has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from extension_core.errors import DiversityError
from extension_core.hosts.common.capabilities import has_module
from extension_core.hosts.refusal import raising, refusal
from extension_core.ui.panel import build_disabled

if TYPE_CHECKING:
    from extension_core.hosts.common.extension import Extension

# reForge's main branch and Forge Classic keep models in ldm_patched, as Forge did before August 2024.
_OTHER_FORK = (
    "Diversity Distillation works with AUTOMATIC1111 1.10 and with Forge of 2025, but this fork of Forge has another "
    "backend (no package 'backend' was found); use one of those two or remove the extension."
)


def choose() -> Extension | Unavailable:
    """The extension for this host, or what only says why there is none."""
    if has_module("backend"):
        return _forge()
    if has_module("modules_forge"):
        return Unavailable(_OTHER_FORK)
    return _a1111()


def _a1111() -> Extension | Unavailable:
    from extension_core.hosts.a1111 import capabilities

    if missing := capabilities.missing():
        return Unavailable(_sentence("AUTOMATIC1111 1.10", missing))
    from extension_core.hosts.a1111.host import A1111
    from extension_core.hosts.common.extension import Extension

    return Extension(A1111())


def _forge() -> Extension | Unavailable:
    from extension_core.hosts.forge import capabilities

    if missing := capabilities.missing():
        return Unavailable(_sentence("Forge of 2025", missing))
    from extension_core.hosts.common.extension import Extension
    from extension_core.hosts.forge.host import Forge

    return Extension(Forge())


def _sentence(needed: str, missing: list[str]) -> str:
    return (
        f"Diversity Distillation needs {needed} or newer; this host lacks {', '.join(missing[:3])}: update it or "
        "remove the extension."
    )


class Unavailable:
    """The same calls on a host that the extension cannot work with: page and API are told so, nothing else is done."""

    def __init__(self, sentence: str) -> None:
        self.sentence = sentence

    def build_panel(self, script: Any, _host_settings: dict[str, Any]) -> list[Any]:
        """An accordion with the sentence."""
        return [build_disabled(self.sentence, script.elem_id)]

    def begin(self, p: Any, args: Sequence[Any]) -> None:
        """Refuse a request that ticks the box."""
        if args and args[0]:
            p.sample = raising(refusal(DiversityError(self.sentence)))

    def register(self, *_: Any) -> None:
        """Nothing."""

    note_setting = setup = before = before_batch = before_sampling = image_finished = after = register
