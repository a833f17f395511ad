"""One way to settle a request: which model makes which step, decided before any step, with nothing touched.

Generation, the page's plan line, `POST /plan` and the cells of a plot all come through `settle`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from extension_core.hosts.common.plan.cautions import cautions_on
from extension_core.hosts.common.plan.conflicts import check_conflicts
from extension_core.hosts.common.plan.distilled_model import (
    Models,
    check_second,
    content_notes,
    family_settings,
    settle_models,
    style_of,
    title_of,
)
from extension_core.hosts.common.plan.levels import Reading
from extension_core.hosts.common.plan.notes import notes_on, notes_on_prompts
from extension_core.hosts.common.plan.passes import Passes
from extension_core.hosts.protocols import Host
from extension_core.options.hybrid import Options
from extension_core.sampling.families import Detection
from extension_core.sampling.plan import Plan
from extension_core.sampling.session import Session
from extension_core.sampling.settled import Settled
from extension_core.sampling.warnings import Caution
from extension_core.weights.placement import Placed, residency_for
from extension_core.weights.reader import read_header
from extension_core.weights.selection import Selection


@dataclass(frozen=True)
class RequestPlan:
    """What a request will do, and what that was decided from.

    Attributes:
        request: the request as it will run, for reading alone: `settings` in the place of its own.
        settings: fields of the request that the distilled model's family sets.
        models: the files that make it.
        selection: the second model's file as it is to be read; None if there is none, or no checkpoint is loaded.
        passes: the schedules that the host asks for while the request runs.
        placed: where the models would be.
        content_notes: where the chosen file is not the one that was asked for by its hash.
        file_notes: what the user should know of the second model's file, and of the prompt's LoRAs beside it.
        warnings: what is to be minded of these settings before they run.
    """

    session: Session
    request: Any
    settings: Mapping[str, Any]
    models: Models
    selection: Selection | None
    passes: Passes
    placed: Placed
    content_notes: tuple[str, ...] = ()
    file_notes: tuple[str, ...] = ()
    warnings: tuple[Caution, ...] = ()

    @property
    def detection(self) -> Detection:
        """The distilled model's family."""
        return self.models.detection

    @property
    def path(self) -> Path | None:
        """The second model's file, None if there is none."""
        return self.models.path

    @property
    def plan(self) -> Plan:
        """The passes, decided."""
        return self.session.plan

    @property
    def own_text(self) -> bool | None:
        """Whether the second model reads prompts by its own text encoder; None while that is not known."""
        return None if self.selection is None else self.selection.own_text_encoder

    @property
    def notes(self) -> tuple[str, ...]:
        """What is said under an image of this request, in its order."""
        minded = (caution.sentence for caution in self.warnings if caution.on_image)
        return (*self.models.notes, *self.plan.notes, *self.content_notes, *minded, *self.file_notes)

    def with_known_hashes(self) -> RequestPlan:
        """The same once the second model's hash is calculated, by which a copy of the loaded checkpoint is known."""
        return replace(self, warnings=cautions_on(self.request, self.models, self.plan))


def settle(host: Host, request: Any, options: Options) -> RequestPlan:
    """Decide what a request will do. Neither the host nor the request is changed.

    Args:
        request: the host's processing object, or what `client_request.request_of` makes of settings.

    Raises:
        DiversityError: the request is refused; the sentence says why.
        NotLoaded: the noise levels are known once the checkpoint is loaded.
    """
    check_conflicts(request)
    is_loaded = host.is_loaded()
    if is_loaded:
        host.check_model()
    host.check_request(request)
    models = settle_models(host, options, getattr(request, "sd_model_checkpoint", ""))
    selection = _selection(host, models) if is_loaded else None
    options, detection = models.options, models.detection
    settings, grid = family_settings(request, options, detection)
    as_run = Reading(request, **settings)
    passes = Passes(as_run, options, grid, host.noise())
    plan = passes.plan()
    found = detection.why if options.family == "auto" else ""
    session = Session(options, plan, title_of(models.choice), family_found=found, run_as=str(Settled.of(detection)))
    return RequestPlan(
        session,
        as_run,
        settings,
        models,
        selection,
        passes,
        host.expected_placement(models.path, as_run, residency_for(options.residency, plan.takes_turns)),
        content_notes(models),
        (*notes_on(host, models), *notes_on_prompts(request, models.path, options)) if is_loaded else (),
        cautions_on(request, models, plan),
    )


def _selection(host: Host, models: Models) -> Selection | None:
    if models.path is None:
        return None
    header = read_header(models.path)  # before it is checked: what is read later is what was checked
    own_text_encoder = check_second(host, models)
    style = style_of(host, models.options, models.path)
    return Selection(header, own_text_encoder, models.options.lora_strength, style, makes_base=models.roles.turned)
