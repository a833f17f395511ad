"""The panel: its components, the plan line that follows the host's own settings, and pasting."""

from __future__ import annotations

import functools
from types import SimpleNamespace
from typing import Any

from gradio.context import Context
from modules import sd_models, sd_samplers, ui_common, ui_components

from extension_core.arguments import in_positions, options_of_page
from extension_core.errors import DiversityError
from extension_core.hosts.webui import choices, files, following, pasting
from extension_core.hosts.webui.host import Host
from extension_core.hosts.webui.planned import Planned, planned, request_of
from extension_core.options import FIELDS, Options
from extension_core.sampling.routing import Phase
from extension_core.ui import components, infotext, panel, preview, summary
from extension_core.ui.summary import Model, summary_html


def build(host: Host, script: Any, host_settings: dict[str, Any]) -> list[Any]:
    """Build the accordions for a script on its tab and register their infotext fields on the script."""
    parts = components.HostParts(
        accordion=ui_components.InputAccordion,
        models=functools.cache(_labels),
        samplers=lambda: [sampler.name for sampler in sd_samplers.visible_samplers()],
        refresh_button=_refresh_button,
        elem_id=script.elem_id,
        tooltip=lambda text: {"tooltip": text},
        is_page=Context.block is not Context.root_block,  # the API calls `ui` in Blocks of its own (1.10.1)
    )
    built = panel.build(parts)
    pasted = infotext.Pasting(pasting.label_of, pasting.detected, pasting.problem)
    script.infotext_fields = infotext.paste_fields(built.components, pasted, built.pasted_line)
    line = functools.partial(plan_line, host, script.is_img2img)
    following.keep_current(line, built, host_settings, script.is_img2img)
    return in_positions(built.components, preview.build(parts, "img2img" if script.is_img2img else "txt2img"))


def _refresh_button(component: Any, elem_id: str) -> Any:
    labels = lambda: {"choices": ["None", *(choice.label for choice in choices.choices())]}  # noqa: E731
    return ui_common.create_refresh_button(component, choices.refresh, labels, elem_id)


def _labels() -> list[str]:
    choices.look_for_unets()
    return [choice.label for choice in choices.choices()]


def plan_line(host: Host, is_img2img: bool, names: tuple[str, ...], *values: Any) -> str:
    """The plan of the page's settings as HTML, or the sentence that says why there is none.

    Args:
        names: the host's settings that follow the options in `values`.
    """
    try:
        options = options_of_page(values[: len(FIELDS)])
        if not options.enabled:
            return ""
        settings = dict(zip(names, values[len(FIELDS) :], strict=True))
        return _preview(host, options, request_of(settings, is_img2img))
    except DiversityError as error:
        return panel.problem_html(str(error))


def _preview(host: Host, options: Options, request: SimpleNamespace) -> str:
    found = planned(host, options, request)
    family = found.detection.family
    settings = f"{request.sampler_name}, {request.steps} steps" if family.sampler else ""
    named = f"{family.label}: {found.detection.why}" if options.family == "auto" else family.label
    warnings = [caution.sentence for caution in found.warnings]
    notes = [note for note in found.plan.notes if note not in warnings]
    said = "; ".join(part for part in (named, settings, *found.names, *notes) if part)
    models = _models(found, request.sd_model_checkpoint)
    table = summary_html(found.session, models, found.lives)
    return panel.plan_html(found.plan.describe(), said, table, warnings)


def _models(found: Planned, checkpoint: str) -> dict[Phase, Model]:
    """The models of a request by their files' names."""
    options, path, carry, roles = found.session.options, found.path, found.carry, found.session.roles
    info = sd_models.get_closet_checkpoint_match(checkpoint) if checkpoint else None
    loaded = info.name_for_extra if info is not None else "the loaded checkpoint"
    models = {roles.loaded: Model(loaded)}
    if path is not None:
        changed_by = summary.carried(carry.strength, loaded, carry.origin.path.stem) if carry is not None else ""
        if files.is_lora_file(path):
            changed_by = summary.lora_on(options.lora_strength, loaded)
        models[roles.second] = Model(path.stem, changed_by)
    return {phase: models[phase] for phase in Phase if phase in models}
