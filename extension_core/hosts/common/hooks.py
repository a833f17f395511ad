"""The script's hooks: each request's two parts, the models' turns and the DT-preview, are begun and asked here.

Hooks' exceptions are swallowed by the hosts, so whatever is wrong is raised later, from `p.sample`.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from extension_core.hosts.common.files.loaded_checkpoint import loaded_name
from extension_core.hosts.common.plan.distilled_model import settle_models
from extension_core.hosts.common.plan.settle import settle
from extension_core.hosts.common.preview import comparison, recording
from extension_core.hosts.common.preview.recording import Recording
from extension_core.hosts.common.processing import grid_diversity, infotext_entries, takeover
from extension_core.hosts.common.processing.attributes import fresh_stack
from extension_core.hosts.common.processing.takeover import TakeOver
from extension_core.hosts.common.request import request
from extension_core.hosts.common.xyz import cells
from extension_core.hosts.protocols import Host
from extension_core.options.positions import Arguments
from extension_core.trajectory.frames import PhaseName


def setup(p: Any) -> None:
    """The request has its scripts; called in the `setup` hook, for copies of it not again."""
    cells.begin(p)
    recording.begin(p)


def before(p: Any, args: Sequence[Any]) -> None:
    """Nothing is settled yet; called in the `before_process` hook."""
    taken = takeover.start(p)
    try:
        if not taken.inner:
            comparison.before(p, _arguments(p, args))
    except Exception as error:  # noqa: BLE001 - whatever it is, the host would swallow it here
        taken.refuse(error)


def begin(host: Host, p: Any, args: Sequence[Any]) -> None:
    """Settle a request; called in the `process` hook, when the checkpoint is known."""
    taken = takeover.of(p)
    if taken is None or taken.begun:
        taken = takeover.start(p)
    taken.begun = True
    try:
        _begin(host, p, args, taken)
    except Exception as error:  # noqa: BLE001 - whatever it is, the host would swallow it here
        taken.refuse(error)
    cells.watch(p, taken)


def _begin(host: Host, p: Any, args: Sequence[Any], taken: TakeOver) -> None:
    infotext_entries.forget(p)
    arguments, part = _arguments(p, args), comparison.part_of(p)
    if part is not None:
        arguments = part.changed(arguments, lambda options: settle_models(host, options).roles.turned)
    preview = Recording(host, p, arguments.preview, taken, part) if arguments.preview.preview else None
    if arguments.options.enabled and not taken.refused:
        _take_over(host, p, arguments, taken)
    if preview is not None:
        preview.take_over()
    if arguments.options.grid_diversity:
        grid_diversity.want(p)


def _arguments(p: Any, args: Sequence[Any]) -> Arguments:
    return Arguments.read(args).at(cells.values_of(p))


def _take_over(host: Host, p: Any, arguments: Arguments, taken: TakeOver) -> None:
    """A request that is refused is recorded all the same: the strip then says why it has no frames."""
    try:
        taken.at_failure(host.keep_levels())
        plan = settle(host, p, arguments.options)
        request.Request(host, p, plan, taken, arguments.note).take_over()
    except Exception as error:  # noqa: BLE001 - as above
        taken.refuse(error)


def before_batch(p: Any) -> None:
    """Another batch begins; called in the `process_batch` hook, before the host reads the prompts."""
    taken = takeover.of(p)
    if taken is not None:
        taken.take_again()


def before_sampling(p: Any) -> None:
    """The host has made its sampler and is about to run it; called in `process_before_every_sampling`."""
    taken, hybrid, preview = takeover.of(p), request.of_request(p), recording.of_request(p)
    if taken is None or not taken.held or (hybrid is None and preview is None):
        return
    stack = fresh_stack(p.sampler)
    watch = None
    if preview is not None:  # first, so that it sees what the models are really asked
        watch = functools.partial(preview.attach, now=hybrid.model_now if hybrid is not None else _one_model)
        watch(stack, p.sampler)
    if hybrid is not None:
        hybrid.attach(stack, watch)


def _one_model() -> tuple[PhaseName, str]:
    return "", loaded_name()


def image_finished(p: Any) -> None:
    """Every extension has had its turn at an image; called in `postprocess_image_after_composite`.

    The host saves it next, and names the file by the request's fields where its settings say so.
    """
    taken, hybrid = takeover.of(p), request.of_request(p)
    if hybrid is not None:
        hybrid.image_finished()
    if taken is not None and p.save_samples():
        taken.take_settings_again()


def image_named(params: Any) -> None:
    """The host has named a file and is about to write it; called for every file (`on_before_image_saved`)."""
    taken = takeover.of(params.p) if params.p is not None else None
    if taken is not None and not taken.held:
        taken.give_settings_back()


def after(p: Any, processed: Any) -> None:
    """The request has its images; called in the `postprocess` hook, by others for copies that have none (ADetailer)."""
    taken = takeover.of(p)
    if taken is None or not taken.begun:
        return
    grid_diversity.write(p, processed)
    hybrid, preview = request.of_request(p), recording.of_request(p)
    if hybrid is not None:
        hybrid.finish(processed)
    comparison.after(p, processed)
    if preview is not None:
        preview.finish(processed)
    taken.end()
