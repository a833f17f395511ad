"""What the panel shows of the page's settings: the base's line, the plan, and what its JavaScript says elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

from modules import sd_models, shared

from extension_core.errors import DiversityError
from extension_core.hosts.common.files import pasted
from extension_core.hosts.common.files.loaded_checkpoint import of_one_checkpoint
from extension_core.hosts.common.page import restored_settings
from extension_core.hosts.common.plan.client_request import request_of
from extension_core.hosts.common.plan.settle import RequestPlan, settle
from extension_core.hosts.common.plan.unloaded import NotLoaded, at_next_image
from extension_core.hosts.common.preview import comparison
from extension_core.hosts.protocols import Host
from extension_core.options.hybrid import FIELDS, Options
from extension_core.options.positions import options_of_page
from extension_core.sampling.families import Detection
from extension_core.sampling.roles import is_few_step, roles_of
from extension_core.sampling.routing import Phase
from extension_core.ui import panel, summary, words
from extension_core.ui.groups import GROUPS, changed
from extension_core.ui.idle import Known, idle
from extension_core.ui.page_state import PageState
from extension_core.ui.page_words import page_words
from extension_core.ui.preview import REACHES as PREVIEW_REACHES
from extension_core.ui.summary import Model, summary_html
from extension_core.weights import kinds_of_file

_BY_OURS = "by Diversity Distillation"
_UNTICKED = "Tick Diversity Distillation to compare: without it there is one model alone."
_BASE_ALONE = "Choose another mode than base to compare: with it there is one model alone."
_TOPS = {name: reach.top for name, reach in {**panel.REACHES, **PREVIEW_REACHES}.items()}


@dataclass(frozen=True)
class Tab:
    """Where a panel is.

    Attributes:
        prefix: of the ids of its elements.
    """

    host: Host
    is_img2img: bool
    prefix: str

    def shown(self, names: tuple[str, ...], *values: Any) -> tuple[str, str]:
        """The base's line and the plan as HTML.

        Args:
            names: the host's settings that follow the options in `values`.
        """
        return of_one_checkpoint(lambda: self._shown(names, values))

    def _shown(self, names: tuple[str, ...], values: tuple[Any, ...]) -> tuple[str, str]:
        settings = dict(zip(names, values[len(FIELDS) :], strict=True))
        request = request_of(settings, self.is_img2img)
        tab = "img2img" if self.is_img2img else "txt2img"
        loaded = _loaded(request.sd_model_checkpoint)
        host = at_next_image(self.host, request.sd_model_checkpoint)
        is_loaded = host.is_loaded()
        state = PageState(
            tab,
            self.prefix,
            bool(values[0]),
            tops=_TOPS,
            own=restored_settings.of_request(settings),
            compare="" if values[0] else _UNTICKED,
            folder=_folder(tab),
            loaded=loaded if is_loaded else f"{loaded} (not loaded)",
        )
        try:
            options = options_of_page(values[: len(FIELDS)])
        except DiversityError as error:
            return panel.base_html(loaded, is_loaded=is_loaded), _refused(state, str(error))
        turned, plan = _of_options(host, state, options, request)
        return panel.base_html(loaded, turned, is_loaded), plan


def _folder(tab: str) -> str:
    """The setting; folders by date and the like are made in it."""
    if shared.cmd_opts.hide_ui_dir_config:
        return ""
    return str(shared.opts.outdir_samples or getattr(shared.opts, f"outdir_{tab}_samples"))


def _refused(state: PageState, sentence: str) -> str:
    said = page_words(sentence)
    if state.ticked:
        host = {"sampler": f"Refused as it stands {_BY_OURS}, which says why"}
        state = replace(state, line=said, refused=True, host=host, compare=said)
    return state.around(panel.problem_html(said))


def _of_options(host: Host, state: PageState, options: Options, request: SimpleNamespace) -> tuple[bool, str]:
    """Whether the loaded checkpoint is the distilled model, and the plan."""
    said = roles_of(options.loaded_is).turned
    groups = {group.name: changed(group, options) for group in GROUPS}
    state = replace(state, groups=groups, idle=idle(options, Known()), loaded_is=options.loaded_is)
    try:
        return _planned(host, state, options, request)
    except NotLoaded as later:
        state = replace(state, unsure=_unsure(options, pasted.detected(options.distilled_model), said))
        return said, state.around(panel.later_html(str(later)) if options.enabled else panel.off_html())
    except DiversityError as error:
        return said, _refused(state, str(error)) if options.enabled else state.around(panel.off_html())


def _planned(host: Host, state: PageState, options: Options, request: SimpleNamespace) -> tuple[bool, str]:
    """The same of a request that can be settled.

    Raises:
        DiversityError: it cannot, or a file went away meanwhile.
    """
    requested = _settings(request, (request.cfg_scale,) if getattr(request, "cfg_scale", None) else ())
    found = settle(host, request, options)
    runs = _settings(found.request, words.cfg_of(found.session))
    state = replace(_of_plan(state, options, found, runs), trial=_trial(request, requested, runs))
    shown = _plan(options, found, requested, runs, host.is_loaded()) if options.enabled else panel.off_html()
    return found.models.roles.turned, state.around(shown)


def _settings(request: SimpleNamespace, cfg: tuple[float, ...]) -> words.Settings:
    return words.Settings(request.steps, request.sampler_name, request.scheduler, cfg)


def _of_plan(state: PageState, options: Options, found: RequestPlan, runs: words.Settings) -> PageState:
    """What only a plan tells: which options act, what was left open and is settled, what runs for the host's own."""
    is_custom = found.detection.family.sampler is None
    is_lora = None if found.path is None else kinds_of_file.is_lora_file(found.path)
    known = Known.of(found.session, is_lora, is_custom)
    reach = max(known.steps or 0, options.switch_step)
    state = replace(state, idle=idle(options, known), found=_settled(options, found, runs))
    state = replace(state, tops={**state.tops, "switch_step": reach or state.tops["switch_step"]})
    if not options.enabled:
        return state
    if options.mode == "base":
        state = replace(state, compare=_BASE_ALONE)
    distilled = found.detection if found.models.side(Phase.DISTILLED) is not None else None
    state = replace(state, unsure=_unsure(options, distilled, found.models.roles.turned))
    share = words.small_share(found.session) if is_custom and options.family == "auto" else ""
    notes = {
        "sampler": ". ".join(filter(None, (f"{runs.short} {_BY_OURS}", share))),
        "cfg": f"{runs.guided_in_short} {_BY_OURS}" if runs.cfg else "",
        "negative": f"{words.negative(found.session)}, {_BY_OURS}",
    }
    return replace(state, line=words.state(found.session, found.detection.family.label), host=notes)


def _trial(request: SimpleNamespace, requested: words.Settings, runs: words.Settings) -> str:
    images = max(request.batch_size * request.n_iter, comparison.LEAST_IMAGES)
    return words.trial(images, replace(requested, steps=max(requested.steps, comparison.LEAST_BASE_STEPS)), runs)


def _unsure(options: Options, found: Detection | None, turned: bool) -> str:
    """Asks for the family of a distilled model that neither its name nor its file tells."""
    is_open = options.enabled and options.mode != "base" and options.family == "auto"
    if not is_open or found is None or is_few_step(found):
        return ""
    whose = "The loaded checkpoint's" if turned else "Its"
    return f"{whose} family is not certain, so your own steps and sampler run."


def _settled(options: Options, found: RequestPlan, runs: words.Settings) -> dict[str, str]:
    """What controls that leave something open come to."""
    detection, said = found.detection, {}
    if options.family == "auto" and found.models.side(Phase.DISTILLED) is not None:
        said["family"] = f"Auto: {detection.family.label}"
    if options.file_steps is None and detection.steps is not None:
        said["file_steps"] = f"By its name: {detection.steps}"
    if options.base_steps is None:
        said["base_steps"] = f"As k: {options.switch_step}"
    if options.base_sampler == "same":
        said["base_sampler"] = f"Same: {runs.sampler}"
    if options.loaded_is == "auto":
        said["loaded_is"] = f"Auto: {found.models.options.loaded_is}"
    if options.text_encoder == "auto" and found.own_text is not None and not found.models.roles.turned:
        said["text_encoder"] = "Auto: its own" if found.own_text else "Auto: the base's"
    if options.residency == "auto" and found.path is not None and found.placed.base:
        said["residency"] = f"Auto: {found.placed.where}"
    return said


def _plan(
    options: Options, found: RequestPlan, requested: words.Settings, runs: words.Settings, is_loaded: bool
) -> str:
    models = _models(found, found.request.sd_model_checkpoint)
    names = {phase: model.name for phase, model in models.items()}
    sentences = (words.who(found.session, names), words.replaced(requested, runs))
    family = found.detection.family
    named = f"{family.label}: {found.detection.why}" if options.family == "auto" else family.label
    warnings = [caution.sentence for caution in found.warnings]
    notes = [note for note in found.plan.notes if note not in warnings]
    of_files = (*found.content_notes, *found.models.notes)
    said = "; ".join(part for part in (named, *found.request.name_notes, *of_files, *notes) if part)
    smaller = (words.cost(found.session), page_words(said))
    table = summary_html(found.session, models, found.placed)
    line = found.plan.describe() if is_loaded else "Levels and memory are settled once the checkpoint is loaded."
    return panel.plan_html(sentences, line, smaller, table if is_loaded else "", map(page_words, warnings))


def _models(found: RequestPlan, checkpoint: str) -> dict[Phase, Model]:
    """The models of a request by their files' names."""
    options, path, roles = found.session.options, found.path, found.session.roles
    style = found.selection.style if found.selection is not None else None
    loaded = _loaded(checkpoint) or "the loaded checkpoint"
    models = {roles.loaded: Model(loaded)}
    if path is not None:
        changed_by = summary.style_line(style.strength, loaded, style.origin.path.stem) if style is not None else ""
        if kinds_of_file.is_lora_file(path):
            changed_by = summary.lora_on(options.lora_strength, loaded)
        models[roles.second] = Model(path.stem, changed_by)
    return {phase: models[phase] for phase in Phase if phase in models}


def _loaded(checkpoint: str) -> str:
    info = sd_models.get_closet_checkpoint_match(checkpoint or shared.opts.sd_model_checkpoint or "")
    return info.name_for_extra if info is not None else ""
