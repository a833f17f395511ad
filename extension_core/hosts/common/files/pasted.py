"""What the drop-down calls a model that an infotext names, and what that model is by now."""

from __future__ import annotations

import contextlib
from hashlib import sha256

from extension_core.errors import DiversityError
from extension_core.hosts.common.files import choices, hashes
from extension_core.options.model_names import LORA_LABEL
from extension_core.sampling.families import Detection, detect_family
from extension_core.weights import kinds_of_file
from extension_core.weights.choices import Choice, named_hash, with_hash


def label_of(name: str, short_hash: str) -> str:
    """By name and hash together, else by the hash of a file that was renamed or moved, else by the name.

    A file of that name that has another content is named with the hash it should have, which the request then tells;
    so it must be known, and is calculated if it is not.

    Args:
        short_hash: "" if the infotext has none.
    """
    named = _named(name)
    if named is not None and short_hash in ("", hashes.known(named.path)):
        return named.label
    if (same := _of_hash(short_hash, name)) is not None:
        return same.label
    if named is None:
        return name
    found = hashes.calculated(named.path)
    return named.label if found in ("", short_hash) else with_hash(named, short_hash)


def detected(label: str) -> Detection | None:
    """What `auto` makes of a model by now, None if that cannot be told; a request for it then says why."""
    with contextlib.suppress(DiversityError):
        found = choices.answering(label)
        return detect_family(found.name, kinds_of_file.header_metadata(found.path)) if found is not None else None
    return None


def problem(name: str) -> str:
    """Why the image of an infotext will not come out with this model, "" if nothing speaks against it."""
    try:
        choice = choices.find_choice(name)
    except DiversityError as error:
        return str(error)
    return " ".join(other_content(name, choice))


def other_content(name: str, choice: Choice) -> tuple[str, ...]:
    """A sentence where a model was asked for with a hash that its file does not have, as far as that is known."""
    bare, stated = named_hash(name, choice)
    known = hashes.known(choice.path) if stated else ""
    if not known or known.startswith(stated) or stated.startswith(known):
        return ()
    note = (
        f"The distilled model '{bare}' was asked for with the hash {stated}, and the file of that name has {known}, so "
        "it is another one and the image of the first does not come out."
    )
    return (note,)


def _of_hash(short_hash: str, name: str) -> Choice | None:
    """The file of a hash: of several copies of a checkpoint, one that answers to the name if any does.

    A LoRA's hash is what its trainer has stated, if anything: where several state one, it proves nothing, and nor does
    the hash of nothing, which some trainers state of every file.
    """
    if not short_hash or sha256().hexdigest().startswith(short_hash):
        return None
    same = hashes.having(short_hash, choices.choices())
    calculated = [choice for choice in same if not choice.label.startswith(LORA_LABEL)]
    if calculated:
        return min(calculated, key=lambda choice: name not in choice.called())
    return same[0] if len(same) == 1 else None


def _named(name: str) -> Choice | None:
    with contextlib.suppress(DiversityError):
        return choices.answering(name)
    return None
