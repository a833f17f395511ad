"""The panel: its components, the plan line that follows the host's own settings, and pasting."""

from __future__ import annotations

import functools
from types import SimpleNamespace
from typing import Any

from modules import sd_samplers, ui_common, ui_components

from extension_core.errors import DiversityError
from extension_core.hosts.webui import choices
from extension_core.hosts.webui.host import Host
from extension_core.hosts.webui.passes import Passes
from extension_core.hosts.webui.request import apply_family, carry_of, check_conflicts, distilled_file
from extension_core.options import FIELDS, Options
from extension_core.sampling.plan import Plan, plan_pass
from extension_core.ui import infotext, panel

# The host's own settings that a plan depends on, by the fields of its request, and their elem_ids (modules/ui.py,
# modules/processing_scripts/sampler.py, 1.10.1). Without the first three there is no plan line that follows them.
HOST_SETTINGS: dict[str, str] = {
    "steps": "{tab}_steps",
    "sampler_name": "{tab}_sampling",
    "scheduler": "{tab}_scheduler",
    "denoising_strength": "{tab}_denoising_strength",
    "enable_hr": "{tab}_hr-checkbox",
    "hr_second_pass_steps": "{tab}_hires_steps",
    "hr_sampler_name": "hr_sampler",
    "hr_scheduler": "hr_scheduler",
    "hr_checkpoint_name": "hr_checkpoint",
}
_NEEDED = frozenset(("steps", "sampler_name", "scheduler"))


def note_setting(settings: dict[str, Any], component: Any, elem_id: str | None, is_img2img: bool) -> None:
    """Keep a component if it is one of the host settings that the plan line depends on."""
    tab = "img2img" if is_img2img else "txt2img"
    for name, pattern in HOST_SETTINGS.items():
        if elem_id == pattern.format(tab=tab):
            settings[name] = component


def build(host: Host, script: Any, host_settings: dict[str, Any]) -> list[Any]:
    """Build the accordion for a script on its tab and register its infotext fields on the script."""
    parts = panel.HostParts(
        accordion=ui_components.InputAccordion,
        models=_labels,
        samplers=lambda: [sampler.name for sampler in sd_samplers.visible_samplers()],
        refresh_button=_refresh_button,
        elem_id=script.elem_id,
        tooltip=lambda text: {"tooltip": text},
    )
    built = panel.build(parts)
    script.infotext_fields = infotext.paste_fields(built.components, _title_of)
    if host_settings.keys() >= _NEEDED:
        _keep_plan_current(host, built, host_settings, script.is_img2img)
    return built.components


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


def _keep_plan_current(host: Host, built: panel.Panel, settings: dict[str, Any], is_img2img: bool) -> None:
    inputs = [*built.components, *settings.values()]
    line = functools.partial(plan_line, host, tuple(settings), is_img2img)
    for component in inputs:
        component.change(fn=line, inputs=inputs, outputs=[built.plan_line], show_progress=False, queue=False)


def plan_line(host: Host, names: tuple[str, ...], is_img2img: bool, *values: Any) -> str:
    """The plan of the page's settings as one line of HTML, or the sentence that says why there is none.

    Args:
        names: the host's settings that follow the options in `values`.
    """
    try:
        options = Options.from_args(values[: len(FIELDS)])
        if not options.enabled:
            return ""
        return _preview(host, options, _request(dict(zip(names, values[len(FIELDS) :], strict=True)), is_img2img))
    except DiversityError as error:
        return panel.problem_html(str(error))


def _request(settings: dict[str, Any], is_img2img: bool) -> SimpleNamespace:
    """The page's settings as the fields of a processing object that a plan reads."""
    request = SimpleNamespace(
        denoising_strength=0.75,
        is_hr_pass=False,
        sampler_noise_scheduler_override=None,
        extra_generation_params={},
        **({} if is_img2img else {"enable_hr": False, "firstpass_image": None}),
    )
    request.hr_sampler_name = request.hr_scheduler = None
    request.hr_second_pass_steps = 0
    for name, value in settings.items():
        unset = name.startswith("hr_") and isinstance(value, str) and value.startswith("Use same")
        setattr(request, name, None if unset else value)
    return request


def _preview(host: Host, options: Options, request: SimpleNamespace) -> str:
    check_conflicts(request)
    host.check_request(request)
    path, _, detection = distilled_file(options)
    if path is not None and host.is_loaded():
        host.check_file(path, options.text_encoder)
        carry_of(host, options, path)
    grid = apply_family(request, options, detection)
    with host.planning():
        schedule = host.noise_schedule()
        passes = Passes(request, options, grid, schedule).read()
        plan = Plan(tuple(plan_pass(item, options, schedule) for item in passes), schedule)
    settings = f"{request.sampler_name}, {request.steps} steps" if detection.family.sampler else ""
    found = f"{detection.family.label}: {detection.why}" if options.family == "auto" else detection.family.label
    return panel.plan_html(plan.describe(), "; ".join(part for part in (found, settings, *plan.notes) if part))
