"""The drop-down's name of a model that an infotext names."""

from __future__ import annotations

import contextlib

from extension_core.errors import DiversityError
from extension_core.hosts.webui import choices, hashes
from extension_core.weights.choices import Choice


def label_of(name: str, short_hash: str) -> str:
    """By name and hash together, else by the hash of a file that was renamed or moved, else by the name.

    Args:
        short_hash: "" if the infotext has none.
    """
    named = _named(name)
    if named is not None and short_hash in ("", hashes.known(named.path)):
        return named.label
    same = [choice for choice in choices.choices() if short_hash and hashes.known(choice.path) == short_hash]
    same.sort(key=lambda choice: name not in choice.called())
    found = same[0] if same else named
    return name if found is None else found.label


def _named(name: str) -> Choice | None:
    with contextlib.suppress(DiversityError):
        return choices.find_choice(name)
    return None
