"""Compare: the same seeds by the base alone, by the distilled model alone, and by both in turn (paper, Fig. 4, C.1)."""

from __future__ import annotations

import math
import secrets
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from modules import processing, shared

from extension_core.errors import DiversityError
from extension_core.hosts.common.preview import side_by_side
from extension_core.hosts.common.preview.page_key import Comparison, PageKey
from extension_core.hosts.common.preview.recorded import Role
from extension_core.hosts.common.processing.scripts import selected_file
from extension_core.options.hybrid import Options
from extension_core.options.positions import Arguments

LEAST_BASE_STEPS = 20
# Fewer images tell nothing of their diversity.
LEAST_IMAGES = 4
_ATTRIBUTE = "diversity_distillation_comparison"
_ALONE: tuple[Role, ...] = ("base", "distilled")
# What a base that is not loaded is to be run with, so that it runs as the host would run it.
_AS_THE_HOST = {"family": "custom", "base_sampler": "same", "lora_targets": "both", "base_lora_factor": 1.0}
# Each click on Compare has a number of its own, which stays in the page's text box for requests that come later.
_DONE: deque[str] = deque(maxlen=1000)


@dataclass
class Part:
    """One request of a comparison.

    Attributes:
        of: its processing object; copies of that are none.
        id: of its recording, "" before that begins.
        others: what the requests before it have made, by their roles, with the last one alone.
        compared: the ids of those requests' recordings, with the last one alone.
        shown: whether a sheet of them all goes before the images; the positions in an API's answer stay as they are.
    """

    of: weakref.ref[Any]
    group: str
    role: Role
    id: str = ""
    others: dict[Role, Any] = field(default_factory=dict)
    compared: dict[str, str] = field(default_factory=dict)
    shown: bool = False

    def changed(self, arguments: Arguments, is_turned: Callable[[Options], bool]) -> Arguments:
        """What this part asks for instead; frames are sent, and the strip shown, of the request's own images alone.

        Args:
            is_turned: whether the loaded checkpoint is the distilled model; asked when the checkpoint is settled.
        """
        if self.role == "hybrid":
            return arguments
        options = arguments.options
        if self.role == "distilled":
            alone = replace(options, mode="distilled")
        elif is_turned(options):
            alone = replace(options, mode="base", base_cfg=getattr(self.of(), "cfg_scale", 1.0), **_AS_THE_HOST)
        else:
            alone = replace(options, enabled=False)
        preview = replace(arguments.preview, returned=False, gallery=False)
        return replace(arguments, options=alone, preview=preview)


def part_of(p: Any) -> Part | None:
    """The part of a comparison that a processing object is, None if of none."""
    known: Part | None = vars(p).get(_ATTRIBUTE)
    return known if known is not None and known.of() is p else None


def before(p: Any, arguments: Arguments) -> None:
    """Make what is to be compared with, if this request asks for it; called before the host settles the request.

    Raises:
        DiversityError: there is nothing to compare.
    """
    part = part_of(p)
    if part is not None and part.role != "hybrid":
        return
    vars(p).pop(_ATTRIBUTE, None)  # of an earlier processing of the same object
    asked = _asked(arguments)
    if not asked:
        return
    if not arguments.options.enabled or arguments.options.mode == "base":
        raise DiversityError(
            "To compare is to make the same seeds by the base, by the distilled model and by both; tick Diversity "
            "Distillation and choose another mode than base."
        )
    script = selected_file(p)
    if asked == "try":
        if script:
            raise DiversityError(
                f"Try it makes the three results of one request, and the script {script} makes requests of its own; "
                "choose None under Script."
            )
        p.n_iter = max(p.n_iter, math.ceil(LEAST_IMAGES / p.batch_size))
    group = secrets.token_urlsafe(24)
    processing.fix_seed(p)
    shared.state.job_count = (len(_ALONE) + 1) * p.n_iter
    alone = [_alone(p, group, role) for role in _ALONE]
    others: dict[Role, Any] = {part.role: made for part, made in alone if made is not None}
    compared = {part.role: part.id for part, _ in alone if part.id}
    shown = not arguments.preview.compare and not script  # which takes the first image for its own
    setattr(p, _ATTRIBUTE, Part(weakref.ref(p), group, "hybrid", others=others, compared=compared, shown=shown))


def _asked(arguments: Arguments) -> Comparison | Literal[""]:
    """What is to be made, once for each click; the DT-preview's is nothing without it."""
    preview = arguments.preview
    if not preview.preview and " try " not in preview.page:
        return ""
    page = PageKey.read(preview.page)
    if not page.asks or page.click in _DONE:
        return "compare" if preview.compare else ""
    _DONE.append(page.click)
    return page.asks


def _alone(p: Any, group: str, role: Role) -> tuple[Part, Any]:
    """One model's images, None if the user has interrupted before. The base makes what the host makes without us."""
    request = copy(p)
    part = Part(weakref.ref(request), group, role)
    if shared.state.interrupted or shared.state.stopping_generation:
        return part, None
    request.extra_generation_params = dict(p.extra_generation_params)
    request.override_settings = dict(p.override_settings)
    setattr(request, _ATTRIBUTE, part)
    if part.role == "base":
        request.steps = max(p.steps, LEAST_BASE_STEPS)
    return part, processing.process_images(request)


def after(p: Any, processed: Any) -> None:
    """Put the others' images behind this request's own, and before them a sheet of all; called in `postprocess`."""
    part = part_of(p)
    if part is None or part.role != "hybrid":
        return
    made: dict[Role, list[Any]] = {"hybrid": _own(processed.images, processed)}
    for role, other in part.others.items():
        images, texts = _own(other.images, other), _own(other.infotexts, other)
        made[role] = images
        processed.images.extend(images)
        processed.infotexts.extend(texts[: len(images)])
    side_by_side.tell(p, processed, {role: made[role] for role in (*_ALONE, "hybrid") if role in made}, part.shown)


def _own(items: Sequence[Any], processed: Any) -> list[Any]:
    """Without the host's grid, which stands first."""
    return list(items[processed.index_of_first_image :])
