"""The panel on A1111: its components, the plan line that follows the host's own settings, and pasting."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from modules import sd_models, sd_samplers, ui_common, ui_components

from extension_core.errors import DiversityError
from extension_core.hosts.a1111 import model
from extension_core.hosts.a1111.passes import Passes
from extension_core.hosts.a1111.request import apply_family, distilled_file
from extension_core.options import FIELDS, Options
from extension_core.sampling.plan import Plan, plan_pass
from extension_core.ui import infotext, panel

# The host's own settings that a plan depends on, by the end of their elem_id (modules/processing_scripts/sampler.py).
HOST_SETTINGS = ("steps", "sampling", "scheduler")


def note_setting(settings: dict[str, Any], component: Any, elem_id: str | None, is_img2img: bool) -> None:
    """Keep a component if it is one of the host settings that the plan line depends on."""
    tab = "img2img" if is_img2img else "txt2img"
    for name in HOST_SETTINGS:
        if elem_id == f"{tab}_{name}":
            settings[name] = component


def build(script: Any, host_settings: dict[str, Any]) -> list[Any]:
    """Build the accordion for a script on its tab and register its infotext fields on the script."""
    parts = panel.HostParts(
        accordion=ui_components.InputAccordion,
        models=model.checkpoint_titles,
        samplers=lambda: [sampler.name for sampler in sd_samplers.visible_samplers()],
        refresh_button=_refresh_button,
        elem_id=script.elem_id,
        tooltip=lambda text: {"tooltip": text},
    )
    built = panel.build(parts)
    script.infotext_fields = infotext.paste_fields(built.components, _title_of)
    if len(host_settings) == len(HOST_SETTINGS):
        _keep_plan_current(built, [host_settings[name] for name in HOST_SETTINGS])
    return built.components


def _refresh_button(component: Any, elem_id: str) -> Any:
    choices = lambda: {"choices": ["None", *model.checkpoint_titles()]}  # noqa: E731
    return ui_common.create_refresh_button(component, model.refresh_checkpoints, choices, elem_id)


def _title_of(name: str) -> str:
    info = sd_models.get_closet_checkpoint_match(name)
    return info.title if info is not None else name


def _keep_plan_current(built: panel.Panel, settings: list[Any]) -> None:
    inputs = [*built.components, *settings]
    for component in inputs:
        component.change(fn=plan_line, inputs=inputs, outputs=[built.plan_line], show_progress=False, queue=False)


def plan_line(*values: Any) -> str:
    """The plan of the panel's settings as one line of HTML, or the sentence that says why there is none."""
    args, (steps, sampler, scheduler) = values[: len(FIELDS)], values[len(FIELDS) :]
    try:
        options = Options.from_args(args)
        if not options.enabled:
            return ""
        line, found = _preview(options, int(steps), sampler, scheduler)
    except DiversityError as error:
        return panel.problem_html(str(error))
    return panel.plan_html(line, found)


def _preview(options: Options, steps: int, sampler: str, scheduler: str) -> tuple[str, str]:
    path, _, detection = distilled_file(options)
    if path is not None and sd_models.model_data.sd_model is not None:
        model.check_file(path, options.text_encoder)
    request = SimpleNamespace(
        steps=steps,
        sampler_name=sampler,
        scheduler=scheduler,
        hr_scheduler=None,
        enable_hr=False,
        is_hr_pass=False,
        firstpass_image=None,
        sampler_noise_scheduler_override=None,
        extra_generation_params={},
    )
    grid = apply_family(request, options, detection)
    schedule = model.noise_schedule()
    passes = Passes(request, options, grid, schedule).read()
    line = Plan(tuple(plan_pass(item, options, schedule) for item in passes), schedule).describe()
    settings = f"{request.sampler_name}, {request.steps} steps" if detection.family.sampler else ""
    found = f"{detection.family.label}: {detection.why}" if options.family == "auto" else detection.family.label
    return line, f"{found}{'; ' + settings if settings else ''}"
