"""What can be a distilled model on this host: its checkpoints, U-Nets that it does not list, its LoRAs."""

from __future__ import annotations

import functools
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from modules import paths, sd_models, shared

from extension_core.errors import DiversityError
from extension_core.weights.choices import Choice, find, lora_choice, not_found, unet_choices, unet_folders

_MOST_REMEMBERED = 50_000
# Process-wide on purpose, as the host's own lists are: walking folders on every change of the page would be slow.
_UNETS: list[Choice] = []


def choices() -> list[Choice]:
    """Everything that can be chosen: the host's checkpoints, U-Nets as last looked for, the host's LoRAs."""
    listed = list(sd_models.checkpoints_list.values())
    names = Counter(info.name for info in listed)  # of files in two folders that have one name, the hash tells which
    checkpoints = [
        _checkpoint(
            info.title if names[info.name] > 1 else info.name, info.name_for_extra, info.filename, tuple(info.ids)
        )
        for info in listed
    ]
    return [*checkpoints, *_UNETS, *(_lora(name, file) for name, file in sorted(_loras()))]


# Made once for as long as the host lists the file so: the page asks with every change, and users have thousands.
@functools.lru_cache(maxsize=_MOST_REMEMBERED)
def _checkpoint(label: str, name: str, file: str, ids: tuple[str, ...]) -> Choice:
    """The label is not the host's title, which changes when the host comes to know the hash: gradio 4 shows nothing for
    a name that a page's list has not, and lists are older than what is pasted into them or sent to them.
    """
    return Choice(label, name, Path(file), name, ids)


@functools.lru_cache(maxsize=_MOST_REMEMBERED)
def _lora(name: str, file: str) -> Choice:
    return lora_choice(name, Path(file))


def _loras() -> list[tuple[str, str]]:
    available = getattr(networks(), "available_networks", {})
    return [(name, entry.filename) for name, entry in list(available.items())]


def look_for_unets() -> None:
    """Look for U-Net files: in the checkpoints' folders what the host does not list, and in folders for U-Nets."""
    listed = [Path(info.filename) for info in list(sd_models.checkpoints_list.values())] + [
        Path(file) for _, file in _loras()
    ]
    folders = [Path(folder) for folder in (sd_models.model_path, shared.cmd_opts.ckpt_dir) if folder]
    _UNETS[:] = unet_choices([*folders, *unet_folders(Path(paths.models_path))], listed)


def refresh() -> None:
    """Have the host look for new checkpoints and LoRAs, and look for new U-Nets."""
    sd_models.list_models()
    loader = networks()
    if loader is not None:
        loader.list_available_networks()
    look_for_unets()


def find_choice(name: str) -> Choice:
    """The entry that a user means by a label, title, file name or hash.

    Raises:
        DiversityError: none was chosen, or there is none of that name; the sentence names the nearest.
    """
    if not name:
        raise DiversityError(
            "No distilled model is chosen: distilled_model is empty; choose one or untick Diversity Distillation."
        )
    found = answering(name)
    if found is None:
        raise not_found(name, choices())
    return found


def answering(name: str) -> Choice | None:
    """The same, None if there is none; U-Nets that came since are looked for.

    Raises:
        DiversityError: several files of one kind answer to it.
    """
    found = find(name, choices())
    if found is None:
        look_for_unets()
        found = find(name, choices())
    return found


def networks() -> Any | None:
    """The host's LoRA loader, None if it is switched off; its folder is on the path only while the host starts it."""
    found = sys.modules.get("networks")
    return found if hasattr(found, "available_networks") else None
