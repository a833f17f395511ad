"""Which file a request's distilled model is, what the loaded checkpoint hands over to it, and what its family sets."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from modules import shared

from extension_core.errors import DiversityError
from extension_core.hosts.webui import choices, files, hashes
from extension_core.hosts.webui.host import Host
from extension_core.options import Options
from extension_core.sampling.families import FAMILIES, Detection, check_one_step, detect_family, grid_for, steps_for
from extension_core.weights.choices import Choice
from extension_core.weights.reader import read_header
from extension_core.weights.wanted import Carry, as_origin


def hash_of(path: Path | None) -> str:
    """The distilled model's hash for the infotext, "" if there is none or users do not want hashes there."""
    if path is None or not shared.opts.add_model_hash_to_info:
        return ""
    shared.state.textinfo = "Calculating the distilled model's hash"
    try:
        return hashes.calculated(path)
    finally:
        shared.state.textinfo = None


def distilled_file(options: Options) -> tuple[Choice | None, Detection]:
    """The distilled model and its family; no model if only the base runs."""
    if options.mode == "base" and not options.distilled_model:
        return None, Detection(FAMILIES["custom"], None, "only the base runs")
    choice = choices.find_choice(options.distilled_model)
    detection = detect_family(choice.name, files.header_metadata(choice.path))
    if options.family != "auto":
        detection = replace(detection, family=FAMILIES[options.family], why="you chose it")
    if options.file_steps is not None:
        detection = replace(detection, steps=options.file_steps)
    check_one_step(detection, options)
    return choice, detection


def title_of(choice: Choice | None) -> str:
    """As the infotext names a distilled model, "" if there is none."""
    return "" if choice is None else choice.title


def carry_of(host: Host, options: Options, path: Path | None) -> Carry | None:
    """What the loaded checkpoint hands over to the distilled model, None if nothing.

    Raises:
        DiversityError: the origin is not there, is of another kind, or the distilled model is a LoRA.
    """
    if not options.carry_from or path is None:
        return None
    if files.is_lora_file(path):
        raise DiversityError(
            f"carry_from is '{options.carry_from}' but the distilled model '{path.name}' is a LoRA, which acts on the "
            "loaded checkpoint and so has its style already; set carry_from to none."
        )
    with as_origin():
        origin = choices.find_choice(options.carry_from).path
        header = read_header(origin)
        host.check_file(origin, "base")
        if files.is_lora_file(origin):
            raise DiversityError(f"The distilled model '{origin.name}' is a LoRA; choose a checkpoint.")
    return Carry(header, options.carry_strength)


def apply_family(p: Any, options: Options, detection: Detection) -> str:
    """Give the request the family's sampler and steps; returns the family's grid, or "host"."""
    family = detection.family
    if family.sampler is None:
        return "host"
    grid = grid_for(detection, options)
    p.steps = steps_for(detection, p.steps)
    p.sampler_name = family.sampler
    if grid != "host":
        p.scheduler = "Automatic"  # the host writes it to the infotext, and another would not be true
    if getattr(p, "enable_hr", False):
        p.hr_sampler_name = None
        if p.hr_second_pass_steps:
            p.hr_second_pass_steps = steps_for(detection, p.hr_second_pass_steps)
    return grid
