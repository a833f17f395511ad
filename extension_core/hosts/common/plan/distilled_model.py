"""Which file a request's distilled model is, what the loaded checkpoint hands over to it, and what its family sets."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from modules import shared

from extension_core.errors import DiversityError
from extension_core.hosts.common.files import choices, hashes
from extension_core.hosts.common.files.loaded_checkpoint import LoadedCheckpoint, chosen_checkpoint, loaded_checkpoint
from extension_core.hosts.common.files.pasted import other_content
from extension_core.hosts.protocols import Host
from extension_core.options.hybrid import Options
from extension_core.sampling.families import FAMILIES, Detection, check_one_step, detect_family, grid_for, steps_for
from extension_core.sampling.roles import Resident, Roles, Side, roles_of, settled, turned_note
from extension_core.sampling.routing import Phase
from extension_core.sampling.schedule import Grid
from extension_core.weights import kinds_of_file
from extension_core.weights.choices import Choice
from extension_core.weights.reader import read_header
from extension_core.weights.selection import Style, as_base, as_origin, in_words_of_base


def hash_of(path: Path | None) -> str:
    """The distilled model's hash for the infotext, "" if there is none or users do not want hashes there."""
    if path is None or not shared.opts.add_model_hash_to_info:
        return ""
    shared.state.textinfo = "Calculating the distilled model's hash"
    try:
        return hashes.calculated(path)
    finally:
        shared.state.textinfo = None


@dataclass(frozen=True)
class Models:
    """Which files make a request, settled once.

    Attributes:
        options: the request's, `loaded_is` without `auto`.
        choice: the model beside the loaded checkpoint, None if that runs alone.
        chosen: the same by what its file tells, None likewise.
        loaded: None while no checkpoint is loaded.
        detection: the distilled model's, with the user's own word.
        notes: what the user should know of who got which part.
    """

    options: Options
    choice: Choice | None
    chosen: Side | None
    loaded: LoadedCheckpoint | None
    detection: Detection
    notes: tuple[str, ...] = ()

    @property
    def path(self) -> Path | None:
        """The second model's file, None if there is none."""
        return None if self.choice is None else self.choice.path

    @property
    def roles(self) -> Roles:
        """Who makes which phase."""
        return roles_of(self.options.loaded_is)

    def side(self, phase: Phase) -> Side | None:
        """The model of a phase, None where it is not known."""
        if self.roles.resident(phase) is Resident.SECOND:
            return self.chosen
        return None if self.loaded is None else self.loaded.side


def settle_models(host: Host, options: Options, checkpoint: str = "") -> Models:
    """Decide which file makes which phase, and what family the distilled one is of.

    Args:
        checkpoint: the one that is chosen, where none is loaded yet.

    Raises:
        DiversityError: none is chosen, it is not there, or it cannot have the part that it is to have.
    """
    loaded = loaded_checkpoint() if host.is_loaded() else chosen_checkpoint(checkpoint)
    with as_base() if options.loaded_is == Phase.DISTILLED.value else nullcontext():
        choice = _chosen(options)
        chosen = None if choice is None else _side(choice)
    loaded_is = settled(options.loaded_is, options.family, loaded and loaded.detection, chosen)
    by_itself = loaded_is != options.loaded_is and loaded_is == Phase.DISTILLED.value
    options = replace(options, loaded_is=loaded_is)
    turned = roles_of(loaded_is).turned
    if turned:
        _check_turned(options, chosen)
    distilled = loaded.side if turned and loaded is not None else chosen
    detection = _by_the_user(options, distilled)
    check_one_step(detection, options, distilled.name if turned and distilled is not None else "")
    notes = (turned_note(loaded.side, chosen),) if by_itself and loaded is not None and chosen is not None else ()
    return Models(options, choice, chosen, loaded, detection, notes)


def _chosen(options: Options) -> Choice | None:
    """The model beside the loaded one; none is needed where the loaded one makes everything."""
    alone = options.mode == "base" if options.loaded_is != "distilled" else options.mode in ("distilled", "skip_first")
    if alone and not options.distilled_model:
        return None
    if options.loaded_is == "distilled" and not options.distilled_model:
        raise DiversityError(
            "Diversity Distillation has no base: the loaded checkpoint is said to be the distilled model, and no other "
            "model is chosen beside it; choose the base, or set Loaded checkpoint is to base."
        )
    return choices.find_choice(options.distilled_model)


def _side(choice: Choice) -> Side:
    detection = detect_family(choice.name, kinds_of_file.header_metadata(choice.path))
    return Side(choice.path.stem, detection, kinds_of_file.is_lora_file(choice.path))


def _check_turned(options: Options, chosen: Side | None) -> None:
    if chosen is not None and chosen.is_lora:
        raise DiversityError(
            f"'{chosen.name}' is a LoRA, which acts on the loaded checkpoint, and that is said to be the distilled "
            "model: there is no base then; choose the base's checkpoint or U-Net, or set Loaded checkpoint is to base."
        )
    if options.carry_from:
        raise DiversityError(
            f"Carry from is '{options.carry_from}', which adds to the distilled model what the loaded base "
            "has learnt, but here the loaded checkpoint is the distilled model; load the base, or set it to None."
        )


def _by_the_user(options: Options, distilled: Side | None) -> Detection:
    if distilled is None:
        return Detection(FAMILIES["custom"], None, "only the base runs")
    detection = distilled.detection
    if options.family != "auto":
        detection = replace(detection, family=FAMILIES[options.family], why="you chose it", own=None)
    return detection if options.file_steps is None else replace(detection, steps=options.file_steps)


def content_notes(models: Models) -> tuple[str, ...]:
    """A sentence where the chosen file was asked for with a hash that it does not have."""
    if models.choice is None:
        return ()
    notes = other_content(models.options.distilled_model, models.choice)
    return tuple(map(in_words_of_base, notes)) if models.roles.turned else notes


def check_second(host: Host, models: Models) -> bool:
    """Check the second model's header against the live model; says whether its own text encoder may be used.

    Raises:
        DiversityError: it cannot take turns with the loaded checkpoint, named by the part that it has.
    """
    if models.path is None:
        return False
    if not models.roles.turned:
        return host.live_model().check_file(models.path, models.options.text_encoder)
    with as_base():
        return host.live_model().check_file(models.path, "auto")  # which of the phases read by it is for `Roles` to say


def title_of(choice: Choice | None) -> str:
    """As the infotext names a distilled model, "" if there is none."""
    return "" if choice is None else choice.title


def style_of(host: Host, options: Options, path: Path | None) -> Style | None:
    """What the loaded checkpoint hands over to the distilled model, None if nothing.

    Raises:
        DiversityError: the origin is not there, is of another kind, or the distilled model is a LoRA.
    """
    if not options.carry_from or path is None:
        return None
    if kinds_of_file.is_lora_file(path):
        raise DiversityError(
            f"carry_from is '{options.carry_from}' but the distilled model '{path.name}' is a LoRA, which acts on the "
            "loaded checkpoint and so has its style already; set carry_from to none."
        )
    with as_origin():
        origin = choices.find_choice(options.carry_from).path
        header = read_header(origin)
        host.live_model().check_file(origin, "base")
        if kinds_of_file.is_lora_file(origin):
            raise DiversityError(f"The distilled model '{origin.name}' is a LoRA; choose a checkpoint.")
    return Style(header, options.carry_strength)


def family_settings(request: Any, options: Options, detection: Detection) -> tuple[dict[str, Any], Grid]:
    """(what the family sets in place of a request's own sampler and steps, the family's grid or "host")."""
    family = detection.family
    if family.sampler is None:
        return {}, "host"
    grid = grid_for(detection, options)
    settings: dict[str, Any] = {"steps": steps_for(detection, request.steps), "sampler_name": family.sampler}
    if grid != "host":
        settings["scheduler"] = "Automatic"  # the host writes it to the infotext, and another would not be true
    if getattr(request, "enable_hr", False):
        settings["hr_sampler_name"] = None
        if request.hr_second_pass_steps:
            settings["hr_second_pass_steps"] = steps_for(detection, request.hr_second_pass_steps)
    return settings, grid
