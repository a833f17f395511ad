"""Picks the adapter for the host at hand, by capability."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from extension_core.errors import DiversityError
from extension_core.hosts.common.capabilities import has_module
from extension_core.hosts.protocols import Host
from extension_core.hosts.refusal import raising, refusal
from extension_core.ui.panel import build_disabled


@dataclass(frozen=True)
class Adapter:
    """What the doorway calls.

    Attributes:
        register: callbacks of the host; on every execution of the script, for "Reload UI" clears them.
        note_setting: keeps a component of the host's that the plan line depends on.
        build_panel: builds the accordion, returns its inputs in the options' order.
        setup: looks whether a request is a plot of many.
        before: makes what a request is to be compared with.
        begin: settles a request.
        before_batch: another batch of the request begins.
        before_sampling: takes over the pass that is about to run.
        image_finished: every extension has had its turn at an image, which has no infotext yet.
        after: looks at what a request has made.
    """

    register: Callable[[], None]
    note_setting: Callable[[dict[str, Any], Any, str | None, bool], None]
    build_panel: Callable[[Any, dict[str, Any]], list[Any]]
    setup: Callable[[Any], None]
    before: Callable[[Any, Sequence[Any]], None]
    begin: Callable[[Any, Sequence[Any]], None]
    before_batch: Callable[[Any], None]
    before_sampling: Callable[[Any], None]
    image_finished: Callable[[Any], None]
    after: Callable[[Any, Any], None]


# reForge's main branch and Forge Classic keep models in ldm_patched, as Forge did before August 2024.
_OTHER_FORK = (
    "Diversity Distillation works with AUTOMATIC1111 1.10 and with Forge of 2025, but this fork of Forge has another "
    "backend (no package 'backend' was found); use one of those two or remove the extension."
)


def choose() -> Adapter:
    """The adapter for this host, or one that only says why there is none."""
    if has_module("backend"):
        return _forge()
    if has_module("modules_forge"):
        return unavailable(_OTHER_FORK)
    return _a1111()


def _a1111() -> Adapter:
    from extension_core.hosts.a1111 import capabilities

    if missing := capabilities.missing():
        return unavailable(_sentence("AUTOMATIC1111 1.10", missing))
    from extension_core.hosts.a1111 import model
    from extension_core.hosts.a1111.host import A1111

    return _over(A1111(), model.watch_model_changes)


def _forge() -> Adapter:
    from extension_core.hosts.forge import capabilities

    if missing := capabilities.missing():
        return unavailable(_sentence("Forge of 2025", missing))
    from extension_core.hosts.forge import model
    from extension_core.hosts.forge.host import Forge

    return _over(Forge(), model.watch_model_changes)


def _over(host: Host, register: Callable[[], None]) -> Adapter:
    from modules import script_callbacks, shared

    from extension_core.hosts.common import hooks
    from extension_core.hosts.common.http import routes
    from extension_core.hosts.common.page import build, host_components
    from extension_core.hosts.common.preview.decoders import DECODERS
    from extension_core.hosts.common.preview.routes import add_routes
    from extension_core.hosts.common.xyz.axes import add_axes

    def register_all() -> None:
        register()
        DECODERS.use(host.decoding)
        script_callbacks.on_before_image_saved(hooks.image_named)
        script_callbacks.on_before_ui(add_axes)
        if shared.cmd_opts.nowebui:  # the API alone lists the axes before that callback (webui.py `api_only`, 1.10.1)
            add_axes()
        script_callbacks.on_app_started(lambda _demo, app: add_routes(app))
        script_callbacks.on_app_started(lambda _demo, app: routes.add_routes(host, app))

    return Adapter(
        register_all,
        host_components.note_setting,
        functools.partial(build.build, host),
        hooks.setup,
        hooks.before,
        functools.partial(hooks.begin, host),
        hooks.before_batch,
        hooks.before_sampling,
        hooks.image_finished,
        hooks.after,
    )


def _sentence(needed: str, missing: list[str]) -> str:
    return (
        f"Diversity Distillation needs {needed} or newer; this host lacks {', '.join(missing[:3])}: update it or "
        "remove the extension."
    )


def unavailable(sentence: str) -> Adapter:
    """An adapter that shows the sentence on the page and answers requests over the API with it."""

    def build_panel(script: Any, _settings: dict[str, Any]) -> list[Any]:
        return [build_disabled(sentence, script.elem_id)]

    def begin(p: Any, args: Sequence[Any]) -> None:
        if args and args[0]:
            p.sample = raising(refusal(DiversityError(sentence)))

    def nothing(*_: Any) -> None:
        pass

    return Adapter(nothing, nothing, build_panel, nothing, nothing, begin, nothing, nothing, nothing, nothing)
