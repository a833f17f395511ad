"""The panel: its components, the plan line that follows the host's own settings, and pasting."""

from __future__ import annotations

import functools
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from modules import sd_models, sd_samplers, shared, ui_common, ui_components

from extension_core.arguments import options_of_page
from extension_core.errors import DiversityError
from extension_core.hosts.webui import choices, files, following
from extension_core.hosts.webui.host import Host
from extension_core.hosts.webui.passes import Passes
from extension_core.hosts.webui.request import apply_family, carry_of, check_conflicts, distilled_file
from extension_core.options import FIELDS, Options
from extension_core.sampling.plan import Plan, plan_pass
from extension_core.sampling.routing import Phase
from extension_core.session import Session
from extension_core.ui import components, infotext, panel, preview, summary
from extension_core.ui.summary import Model, summary_html
from extension_core.weights.placement import residency_for
from extension_core.weights.wanted import Carry


def build(host: Host, script: Any, host_settings: dict[str, Any]) -> list[Any]:
    """Build the accordions for a script on its tab and register their infotext fields on the script."""
    parts = components.HostParts(
        accordion=ui_components.InputAccordion,
        models=_labels,
        samplers=lambda: [sampler.name for sampler in sd_samplers.visible_samplers()],
        refresh_button=_refresh_button,
        elem_id=script.elem_id,
        tooltip=lambda text: {"tooltip": text},
    )
    built = panel.build(parts)
    script.infotext_fields = infotext.paste_fields(built.components, _title_of)
    line = functools.partial(plan_line, host, script.is_img2img)
    following.keep_current(line, built, host_settings, script.is_img2img)
    return [*built.components, *preview.build(parts, "img2img" if script.is_img2img else "txt2img")]


def _refresh_button(component: Any, elem_id: str) -> Any:
    labels = lambda: {"choices": ["None", *(choice.label for choice in choices.choices())]}  # noqa: E731
    return ui_common.create_refresh_button(component, choices.refresh, labels, elem_id)


def _labels() -> list[str]:
    choices.look_for_unets()
    return [choice.label for choice in choices.choices()]


def _title_of(name: str) -> str:
    try:
        return choices.find_choice(name).label
    except DiversityError:
        return name


def plan_line(host: Host, is_img2img: bool, names: tuple[str, ...], *values: Any) -> str:
    """The plan of the page's settings as HTML, or the sentence that says why there is none.

    Args:
        names: the host's settings that follow the options in `values`.
    """
    try:
        options = options_of_page(values[: len(FIELDS)])
        if not options.enabled:
            return ""
        return _preview(host, options, _request(dict(zip(names, values[len(FIELDS) :], strict=True)), is_img2img))
    except DiversityError as error:
        return panel.problem_html(str(error))


def _request(settings: dict[str, Any], is_img2img: bool) -> SimpleNamespace:
    """The page's settings as the fields of a processing object that a plan reads."""
    request = SimpleNamespace(
        denoising_strength=0.75,
        width=512,
        height=512,
        batch_size=1,
        sd_model_checkpoint=shared.opts.sd_model_checkpoint,
        is_hr_pass=False,
        sampler_noise_scheduler_override=None,
        extra_generation_params={},
        **({} if is_img2img else {"enable_hr": False, "firstpass_image": None}),
    )
    request.hr_sampler_name = request.hr_scheduler = None
    request.hr_second_pass_steps = request.hr_resize_x = request.hr_resize_y = 0
    request.hr_scale = 1.0
    for name, value in settings.items():
        unset = name.startswith("hr_") and isinstance(value, str) and value.startswith("Use same")
        setattr(request, name, None if unset else value)
    return request


def _preview(host: Host, options: Options, request: SimpleNamespace) -> str:
    check_conflicts(request)
    host.check_request(request)
    path, title, detection = distilled_file(options)
    if path is not None and host.is_loaded():
        host.check_file(path, options.text_encoder)
    carry = carry_of(host, options, path) if host.is_loaded() else None
    grid = apply_family(request, options, detection)
    with host.planning():
        schedule = host.noise_schedule()
        passes = Passes(request, options, grid, schedule).read()
        plan = Plan(tuple(plan_pass(item, options, schedule) for item in passes), schedule)
    settings = f"{request.sampler_name}, {request.steps} steps" if detection.family.sampler else ""
    found = f"{detection.family.label}: {detection.why}" if options.family == "auto" else detection.family.label
    said = "; ".join(part for part in (found, settings, *plan.notes) if part)
    models = _models(options, request.sd_model_checkpoint, path, carry)
    lives = host.outlook(path, request, residency_for(options.residency, plan.takes_turns))
    return panel.plan_html(plan.describe(), said, summary_html(Session(options, plan, title), models, lives))


def _models(options: Options, checkpoint: str, path: Path | None, carry: Carry | None) -> dict[Phase, Model]:
    """The models of a request by their files' names."""
    info = sd_models.get_closet_checkpoint_match(checkpoint) if checkpoint else None
    loaded = info.name_for_extra if info is not None else "the loaded checkpoint"
    models = {Phase.BASE: Model(loaded)}
    if path is not None:
        changed_by = summary.carried(carry.strength, loaded, carry.origin.stem) if carry is not None else ""
        if files.is_lora_file(path):
            changed_by = summary.lora_on(options.lora_strength, loaded)
        models[Phase.DISTILLED] = Model(path.stem, changed_by)
    return models
