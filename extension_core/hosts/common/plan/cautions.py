"""What is to be said of a request, or of settings that may become one, before it runs: gathered on this host."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from extension_core.errors import DiversityError
from extension_core.hosts.common.files import hashes
from extension_core.hosts.common.plan.distilled_model import Models
from extension_core.hosts.common.plan.notes import is_copy
from extension_core.hosts.common.plan.prompt_loras import files_in_prompts
from extension_core.sampling.families import detect_family
from extension_core.sampling.plan import Plan
from extension_core.sampling.roles import Side
from extension_core.sampling.routing import Phase
from extension_core.sampling.warnings import Caution, Situation, warnings_on
from extension_core.weights import kinds_of_file


def cautions_on(p: Any, models: Models, plan: Plan) -> tuple[Caution, ...]:
    """Sentences on who makes what, on the steps and on the guidance.

    Args:
        p: the host's processing object, or what stands for it: its prompts are read.
    """
    return warnings_on(
        Situation(
            models.options,
            plan,
            models.detection,
            models.side(Phase.BASE),
            models.side(Phase.DISTILLED),
            models.roles,
            _same(models),
            tuple(_in_prompt(p, models.path)),
            any(text.strip() for text in _negative_prompts(p)),
        )
    )


def _same(models: Models) -> str:
    """How the chosen file is the loaded checkpoint, "" if it is another; only hashes that are known are compared."""
    if models.path is None or models.loaded is None or (models.chosen and models.chosen.is_lora):
        return ""
    with suppress(OSError):
        if models.path == models.loaded.path or models.path.samefile(models.loaded.path):
            return "is the loaded checkpoint itself"
    known = hashes.known(models.path)
    if known and known == hashes.known(models.loaded.path):
        return f"is a copy of the loaded checkpoint '{models.loaded.name}' (both have the hash {known})"
    return ""


def _in_prompt(p: Any, chosen: Path | None) -> list[Side]:
    """LoRAs of the prompts; a copy of the chosen one is another note's."""
    named = [file for file in sorted(files_in_prompts(p)) if chosen is None or not is_copy(file, chosen)]
    sides = []
    for file in named:
        with suppress(DiversityError):
            sides.append(Side(file.stem, detect_family(file.stem, kinds_of_file.header_metadata(file)), is_lora=True))
    return sides


def _negative_prompts(p: Any) -> list[str]:
    return [*(getattr(p, "all_negative_prompts", None) or ()), *(getattr(p, "all_hr_negative_prompts", None) or ())]
