"""The plan of settings that nobody has sent off yet: what the page's line and the API's plan tell; nothing is run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from modules import shared

from extension_core.hosts.common.plan.cautions import cautions_on
from extension_core.hosts.common.plan.conflicts import check_conflicts
from extension_core.hosts.common.plan.distilled_model import (
    Models,
    apply_family,
    check_second,
    content_notes,
    settle_models,
    style_of,
    title_of,
)
from extension_core.hosts.common.plan.names import settle_names
from extension_core.hosts.common.plan.passes import Passes
from extension_core.hosts.protocols import Host
from extension_core.options.hybrid import Options
from extension_core.sampling.families import Detection
from extension_core.sampling.plan import Plan
from extension_core.sampling.session import Session
from extension_core.sampling.settled import Settled
from extension_core.sampling.warnings import Caution
from extension_core.weights.placement import Placed, residency_for
from extension_core.weights.selection import Style


@dataclass(frozen=True)
class Planned:
    """What would run, and what it was made from.

    Attributes:
        models: the files that make it.
        lives: where the models would be.
        request: the settings as the family has changed them.
        names: what the user should know of the names that were sent.
        warnings: what is to be minded of these settings before they run.
        own_text: whether the second model reads prompts by its own text encoder; None while that is not known.
    """

    session: Session
    models: Models
    style: Style | None
    placed: Placed
    request: SimpleNamespace
    names: tuple[str, ...] = ()
    warnings: tuple[Caution, ...] = ()
    own_text: bool | None = None

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


def request_of(settings: Mapping[str, Any], is_img2img: bool) -> SimpleNamespace:
    """A page's or a client's settings as the fields of a processing object that a plan reads."""
    request = SimpleNamespace(
        denoising_strength=0.75,
        width=512,
        height=512,
        batch_size=1,
        n_iter=1,
        sd_model_checkpoint=shared.opts.sd_model_checkpoint,
        is_hr_pass=False,
        sampler_noise_scheduler_override=None,
        extra_generation_params={},
        all_prompts=[str(settings.get("prompt") or "")],
        all_negative_prompts=[str(settings.get("negative_prompt") or "")],
        **({} if is_img2img else {"enable_hr": False, "firstpass_image": None}),
    )
    request.hr_sampler_name = request.hr_scheduler = None
    request.hr_second_pass_steps = request.hr_resize_x = request.hr_resize_y = 0
    request.hr_scale = 1.0
    for name, value in settings.items():
        unset = name.startswith("hr_") and isinstance(value, str) and value.startswith("Use same")
        setattr(request, name, None if unset else value)
    return request


def planned(host: Host, options: Options, request: SimpleNamespace) -> Planned:
    """Decide what these settings would do with the loaded checkpoint; changes nothing but `request`.

    Raises:
        DiversityError: the settings would be refused, or no checkpoint is loaded.
    """
    check_conflicts(request)
    asked = settle_names(request)
    host.check_request(request)
    models = settle_models(host, options, request.sd_model_checkpoint)
    options, choice, detection, path = models.options, models.choice, models.detection, models.path
    own_text = None
    if host.is_loaded():
        host.check_model()
        own_text = check_second(host, models) if path is not None else None
    style = style_of(host, options, path) if host.is_loaded() else None
    grid = apply_family(request, options, detection)
    plan = Passes(request, options, grid, host.noise()).plan()
    placed = host.expected_placement(path, request, residency_for(options.residency, plan.takes_turns))
    found = detection.why if options.family == "auto" else ""
    session = Session(options, plan, title_of(choice), family_found=found, run_as=str(Settled.of(detection)))
    names = (*asked, *content_notes(models), *models.notes)
    return Planned(session, models, style, placed, request, names, cautions_on(request, models, plan), own_text)
