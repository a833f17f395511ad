"""What may be chosen beside the loaded checkpoint, best first, with the reason where a file does not fit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from modules import paths, sd_models, shared

from extension_core.errors import DiversityError, sayable
from extension_core.hosts.common.files import choices
from extension_core.hosts.common.files.known_files import KnownFiles, Seen
from extension_core.hosts.common.files.loaded_checkpoint import (
    LoadedCheckpoint,
    chosen_checkpoint,
    loaded_checkpoint,
    of_one_checkpoint,
)
from extension_core.hosts.common.http.openapi import FLAG, TEXT, WHOLE, list_of, of, or_null
from extension_core.hosts.common.plan.unloaded import at_next_image
from extension_core.hosts.protocols import Host
from extension_core.options.schema import Schema
from extension_core.sampling.families import FAMILIES
from extension_core.sampling.roles import is_few_step
from extension_core.sampling.routing import Phase
from extension_core.ui.offers import Offer, best_first, heading, none_found
from extension_core.weights.choices import Choice, unet_folders
from extension_core.weights.file_facts import Facts, misfit

_NOT_KNOWN_YET = "what the loaded checkpoint is is not known yet"

OFFERS: Schema = of(
    {
        "checkpoint": {
            **or_null(TEXT),
            "description": "The loaded one; null while none is: the list is then for the one that is chosen.",
        },
        "architecture": {**TEXT, "description": "Of the loaded checkpoint, empty where it is not known."},
        "part": {"type": "string", "enum": [phase.value for phase in Phase], "description": "Of the file to choose."},
        "choices": list_of(
            of(
                {
                    "name": {**TEXT, "description": "What to send as distilled_model."},
                    "file": {**TEXT, "description": "The file's name without its folder."},
                    "kind": {"type": "string", "enum": ["checkpoint", "unet", "lora", ""]},
                    "family": {
                        **or_null({"type": "string", "enum": list(FAMILIES)}),
                        "description": "Null: unreadable.",
                    },
                    "steps": or_null(WHOLE),
                    "certain": {**FLAG, "description": "Whether name or metadata leave no doubt of the family."},
                    "fits": {**or_null(FLAG), "description": "Null: not known, or not yet."},
                    "reason": {**TEXT, "description": "Why it does not fit, or why that is not known."},
                    "words": {**TEXT, "description": "What to show beside the name."},
                    "heading": {**TEXT, "description": "What to show above this file and its like."},
                }
            )
        ),
        "pending": {**WHOLE, "description": "Files that nobody has looked at yet; ask again."},
        "none_found": {**TEXT, "description": "A sentence where nothing fits that part, else empty."},
        "problem": {**TEXT, "description": "Why the loaded checkpoint takes turns with none, else empty."},
    }
)

# Which checkpoint a list is for: what is loaded, or what the next image is made with.
LOADED, CHOSEN = "loaded", "chosen"


class Offers:
    """The list for the checkpoint that is loaded at the moment, or for the one that the next image is made with."""

    def __init__(self, host: Host, known: KnownFiles | None = None) -> None:
        self._host, self._known = host, known or KnownFiles()

    def as_json(self, loaded_is: str, checkpoint: str = LOADED) -> dict[str, Any]:
        """Args:
        loaded_is: as the option of that name.
        checkpoint: `LOADED` or `CHOSEN`.
        """
        choices.look_again()
        return of_one_checkpoint(lambda: self._as_json(loaded_is, checkpoint))

    def _as_json(self, loaded_is: str, checkpoint: str) -> dict[str, Any]:
        is_loaded = (at_next_image(self._host) if checkpoint == CHOSEN else self._host).is_loaded()
        loaded = loaded_checkpoint() if is_loaded else chosen_checkpoint()
        listed = choices.choices()
        seen, pending = self._known.seen(listed)
        facts, problem = self._facts() if is_loaded else (_facts_of_file(loaded, listed, seen), "")
        part = _part(loaded_is, loaded)
        found = [_offer(choice, one, facts, loaded) for choice, one in zip(listed, seen, strict=True)]
        offers = best_first(found, part)
        return {
            "checkpoint": loaded.name if is_loaded and loaded is not None else None,
            "architecture": facts.architecture,
            "part": part.value,
            "choices": [_entry(offer, part) for offer in offers],
            "pending": pending,
            "none_found": "" if pending else none_found(offers, facts.architecture, _folders(), part),
            "problem": problem,
        }

    def _facts(self) -> tuple[Facts, str]:
        try:
            self._host.check_model()
        except DiversityError as error:
            return Facts(), str(error)
        return self._host.live_model().facts, ""


def _facts_of_file(loaded: LoadedCheckpoint | None, listed: Sequence[Choice], seen: Sequence[Seen]) -> Facts:
    """Of a checkpoint that is not loaded yet, by its header: Forge loads it with the first image."""
    if loaded is None:
        return Facts()
    return next((one.facts for choice, one in zip(listed, seen, strict=True) if choice.path == loaded.path), Facts())


def _part(loaded_is: str, loaded: LoadedCheckpoint | None) -> Phase:
    """Of the file that is to be chosen; `auto` lets a few-step checkpoint have the distilled one."""
    turned = loaded_is == "distilled" or (loaded_is == "auto" and loaded is not None and is_few_step(loaded.detection))
    return Phase.BASE if turned else Phase.DISTILLED


def _offer(choice: Choice, seen: Seen, facts: Facts, loaded: LoadedCheckpoint | None) -> Offer:
    if loaded is not None and choice.path == loaded.path:
        fits, reason = False, "it is the loaded checkpoint itself"
    elif seen.facts.problem:
        fits, reason = False, seen.facts.problem
    elif seen.unknown:
        fits, reason = None, seen.unknown
    else:
        why = misfit(seen.facts, facts)
        fits = None if why is None else why == ""
        unknown = "its header does not say what it is for" if facts.architecture else _NOT_KNOWN_YET
        reason = unknown if why is None else why
    return Offer(choice.label, choice.path.name, seen.facts.kind, seen.detection, fits, sayable(reason))


def _entry(offer: Offer, part: Phase) -> dict[str, Any]:
    found = offer.detection
    return {
        "name": offer.name,
        "file": offer.file,
        "kind": offer.kind,
        "family": found.family.name if found is not None else None,
        "steps": found.steps if found is not None else None,
        "certain": found is not None and is_few_step(found),
        "fits": offer.fits,
        "reason": offer.reason,
        "words": sayable(offer.words),
        "heading": heading(offer, part),
    }


def _folders() -> list[str]:
    """Where files are looked for, as short as they can be told."""
    options = shared.cmd_opts
    of_hosts = [sd_models.model_path, options.ckpt_dir, *map(str, unet_folders(Path(paths.models_path)))]
    loras = getattr(options, "lora_dir", None)
    return list(dict.fromkeys(str(Path(folder)) for folder in (*of_hosts, loras) if folder))
