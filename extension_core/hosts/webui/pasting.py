"""The drop-down's name of a model that an infotext names."""

from __future__ import annotations

import contextlib
from hashlib import sha256

from extension_core.errors import DiversityError
from extension_core.hosts.webui import choices, hashes
from extension_core.weights.choices import LORA_LABEL, Choice


def label_of(name: str, short_hash: str) -> str:
    """By name and hash together, else by the hash of a file that was renamed or moved, else by the name.

    Args:
        short_hash: "" if the infotext has none.
    """
    named = _named(name)
    if named is not None and short_hash in ("", hashes.known(named.path)):
        return named.label
    same = _of_hash(short_hash, name)
    return (same or named).label if same or named else name


def _of_hash(short_hash: str, name: str) -> Choice | None:
    """The file of a hash: of several copies of a checkpoint, one that answers to the name if any does.

    A LoRA's hash is what its trainer has stated, if anything: where several state one, it proves nothing, and nor does
    the hash of nothing, which some trainers state of every file.
    """
    if not short_hash or sha256().hexdigest().startswith(short_hash):
        return None
    same = [choice for choice in choices.choices() if hashes.known(choice.path) == short_hash]
    calculated = [choice for choice in same if not choice.label.startswith(LORA_LABEL)]
    if calculated:
        return min(calculated, key=lambda choice: name not in choice.called())
    return same[0] if len(same) == 1 else None


def _named(name: str) -> Choice | None:
    with contextlib.suppress(DiversityError):
        return choices.find_choice(name)
    return None
