"""What may be chosen as distilled model, with the family that each file's name and header tell."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modules import sd_models

from extension_core.errors import DiversityError, sayable
from extension_core.hosts.common.files import choices
from extension_core.hosts.common.http.openapi import TEXT, WHOLE, list_of, of, or_null
from extension_core.options.model_names import LORA_LABEL, PICKLE_SUFFIXES, UNET_LABEL
from extension_core.options.schema import Schema
from extension_core.sampling.families import FAMILIES, Detection, detect_family
from extension_core.weights.choices import Choice
from extension_core.weights.file_state import FileState, state_of, unreadable
from extension_core.weights.lora_file import is_lora
from extension_core.weights.reader import header_of

_LOG = logging.getLogger("diversity_distillation")
MODELS: Schema = list_of(
    of(
        {
            "name": {"type": "string", "description": "What to send as distilled_model."},
            "kind": {"type": "string", "enum": ["checkpoint", "unet", "lora"]},
            "file": {"type": "string", "description": "The file's name without its folder."},
            "hash": {**or_null(TEXT), "description": "SHA-256, where the host has calculated it already."},
            "family": {**or_null({"type": "string", "enum": list(FAMILIES)}), "description": "Null: unreadable."},
            "why": {"type": "string", "description": "Where the family was found, or why the file cannot be read."},
            "steps": {**or_null(WHOLE), "description": "The number of steps that the file is made for, if it says."},
        }
    )
)


@dataclass(frozen=True)
class _Described:
    """What a file tells."""

    family: str | None
    why: str
    steps: int | None = None
    is_lora: bool = False


class Listing:
    """Everything that may be chosen. Headers are read once, as long as their files stay as they are."""

    def __init__(self) -> None:
        self._known: Mapping[Path, tuple[FileState, _Described]] = {}

    def as_json(self) -> list[dict[str, Any]]:
        """One entry for each of the drop-down's."""
        choices.look_again()
        listed, hashes = choices.choices(), _hashes()
        by_path = {choice.path: choice for choice in listed}  # LoRAs' folder may lie in the checkpoints' own
        described = {path: self._described(choice) for path, choice in by_path.items()}
        self._known = {path: (state, said) for path, (state, said) in described.items() if state is not None}
        return [_entry(choice, described[choice.path][1], hashes.get(choice.path)) for choice in listed]

    def _described(self, choice: Choice) -> tuple[FileState | None, _Described]:
        """What the file tells, and what it was when it did; None if it could not be asked."""
        try:
            state = state_of(choice.path)
        except DiversityError as error:
            return None, _Described(None, str(error))
        known = self._known.get(choice.path)
        return (state, known[1]) if known is not None and known[0] == state else (state, _read(choice, state))


def _read(choice: Choice, state: FileState) -> _Described:
    """Pickles have no header and would have to be loaded, so of those the name alone is read."""
    if choice.path.suffix.lower() in PICKLE_SUFFIXES:
        return _described(detect_family(choice.name, {}), is_lora_file=False)
    try:
        header = header_of(choice.path, state)
        return _described(detect_family(choice.name, header.metadata), is_lora(header.shapes))
    except DiversityError as error:
        return _Described(None, str(error))
    except Exception:  # noqa: BLE001 - whatever it is, it is this file's alone
        _LOG.exception("the model file '%s' cannot be looked at", choice.path.name)
        return _Described(None, str(unreadable(choice.path, "it is of a kind that was not foreseen (see the log)")))


def _described(found: Detection, is_lora_file: bool) -> _Described:
    return _Described(found.family.name, sayable(found.why), found.steps, is_lora_file)


def _entry(choice: Choice, described: _Described, sha256: str | None) -> dict[str, Any]:
    return {
        "name": choice.label,
        "kind": "lora" if described.is_lora else _kind(choice.label),
        "file": choice.path.name,
        "hash": sha256 or None,
        "family": described.family,
        "why": described.why,
        "steps": described.steps,
    }


def _kind(label: str) -> str:
    kinds = {UNET_LABEL: "unet", LORA_LABEL: "lora"}
    return next((kind for prefix, kind in kinds.items() if label.startswith(prefix)), "checkpoint")


def _hashes() -> dict[Path, str | None]:
    """Hashes that the host knows already; reading a whole file for one would take long."""
    checkpoints = {Path(info.filename): info.sha256 for info in list(sd_models.checkpoints_list.values())}
    loras = getattr(choices.networks(), "available_networks", {})
    return {**checkpoints, **{Path(entry.filename): entry.hash for entry in loras.values()}}
