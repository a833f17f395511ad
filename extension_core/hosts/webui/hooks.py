"""The script's hooks: each request's two parts, the models' turns and the DT-preview, are begun and asked here.

Hooks' exceptions are swallowed by the hosts, so whatever is wrong is raised later, from `p.sample`.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from extension_core.arguments import Arguments
from extension_core.hosts.refusal import refuse
from extension_core.hosts.webui import grid_diversity, request
from extension_core.hosts.webui.attributes import fresh_stack
from extension_core.hosts.webui.host import Host
from extension_core.hosts.webui.preview import comparing, recording
from extension_core.hosts.webui.preview.recording import Recording
from extension_core.hosts.webui.xyz import cells
from extension_core.trajectory.frames import PhaseName


def setup(p: Any) -> None:
    """The request has its scripts; called in the `setup` hook, for a plot's cells not again."""
    cells.begin(p)


def before(p: Any, args: Sequence[Any]) -> None:
    """Nothing is settled yet; called in the `before_process` hook."""
    try:
        comparing.before(p, _arguments(p, args))
    except Exception as error:  # noqa: BLE001 - whatever it is, the host would swallow it here
        refuse(p, error)


def begin(host: Host, p: Any, args: Sequence[Any]) -> None:
    """Settle a request; called in the `process` hook, when the checkpoint is known."""
    try:
        _begin(host, p, args)
    except Exception as error:  # noqa: BLE001 - whatever it is, the host would swallow it here
        refuse(p, error)
    cells.watch(p)


def _begin(host: Host, p: Any, args: Sequence[Any]) -> None:
    cells.forget_others(p)
    arguments, part = _arguments(p, args), comparing.part_of(p)
    if part is not None:
        arguments = part.changed(arguments)
    preview = Recording(host, p, arguments.preview, part) if arguments.preview.preview else None
    if arguments.options.enabled:
        _settle(host, p, arguments)
    if preview is not None:
        preview.take_over()
    if arguments.options.grid_diversity:
        grid_diversity.want(p)


def _arguments(p: Any, args: Sequence[Any]) -> Arguments:
    return Arguments.read(args).at(cells.values_of(p))


def _settle(host: Host, p: Any, arguments: Arguments) -> None:
    """A request that is refused is recorded all the same: the strip then says why it has no frames."""
    try:
        request.Request(host, p, arguments.options).take_over()
    except Exception as error:  # noqa: BLE001 - as above
        refuse(p, error)


def before_sampling(p: Any) -> None:
    """The host has made its sampler and is about to run it; called in `process_before_every_sampling`."""
    turns, preview = request.of_request(p), recording.of_request(p)
    if turns is None and preview is None:
        return
    stack = fresh_stack(p.sampler)
    watch = None
    if preview is not None:  # first, so that it sees what the models are really asked
        watch = functools.partial(preview.attach, now=turns.model_now if turns is not None else _one_model)
        watch(stack, p.sampler)
    if turns is not None:
        turns.attach(stack, watch)


def _one_model() -> tuple[PhaseName, str]:
    return "", request.loaded_name()


def after(p: Any, processed: Any) -> None:
    """The request has its images; called in the `postprocess` hook."""
    grid_diversity.write(p, processed)
    preview = recording.of_request(p)
    if preview is not None:
        comparing.after(p, processed)
        preview.finish(processed)
