"""What can be a distilled model on this host: its checkpoints and LoRAs, and what it does not list, or not yet."""

from __future__ import annotations

import functools
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from modules import paths, sd_models, shared

from extension_core.errors import DiversityError
from extension_core.options.model_names import LORA_LABEL
from extension_core.weights.choices import (
    Choice,
    checkpoint_choices,
    find,
    lora_choice,
    lora_choices,
    not_found,
    unet_choices,
    unet_folders,
)
from extension_core.weights.folders import Folders

_MOST_REMEMBERED = 50_000
# Process-wide on purpose, as the host's own lists are: walking folders on every change of the page would be slow.
_UNLISTED: list[Choice] = []
_FOLDERS = Folders()


def choices() -> list[Choice]:
    """Everything that can be chosen: the host's checkpoints, what it does not list as last looked for, its LoRAs."""
    listed = list(sd_models.checkpoints_list.values())
    names = Counter(info.name for info in listed)  # of files in two folders that have one name, the hash tells which
    checkpoints = [
        _checkpoint(
            info.title if names[info.name] > 1 else info.name, info.name_for_extra, info.filename, tuple(info.ids)
        )
        for info in listed
    ]
    loras = [_lora(name, file) for name, file in sorted(_loras())]
    return [*checkpoints, *_still_unlisted([*checkpoints, *loras]), *loras]


def _still_unlisted(listed: list[Choice]) -> list[Choice]:
    """Without what the host lists by now, and what it lists another file as: of two it lists the last."""
    if not _UNLISTED:
        return []
    files, labels = {choice.path for choice in listed}, {choice.label for choice in listed}
    return [choice for choice in _UNLISTED if choice.path not in files and choice.label not in labels]


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


def look_for_files() -> None:
    """Look for files that the host does not list: in its folders for checkpoints and LoRAs, and in those for U-Nets.

    It lists what there was when it was asked last (modules/sd_models.py `list_models`, 1.10.1), and is not asked here:
    it forgets everything before it looks, and a generation beside may need it meanwhile.
    """
    listed = [Path(info.filename) for info in list(sd_models.checkpoints_list.values())]
    listed += [Path(file) for _, file in _loras()]
    came = checkpoint_choices(_checkpoint_folders(), listed) + lora_choices(_lora_folders(), listed)
    listed += [choice.path for choice in came]
    folders = [*_checkpoint_folders(), *unet_folders(Path(paths.models_path))]
    _UNLISTED[:] = came + unet_choices(folders, listed)


def look_again() -> None:
    """The same if any of these folders has changed; cheap enough for every change of the page."""
    models = Path(paths.models_path)
    if _FOLDERS.have_changed([*_checkpoint_folders(), *_lora_folders(), *unet_folders(models)]):
        look_for_files()


def _checkpoint_folders() -> list[Path]:
    return [Path(folder) for folder in (shared.cmd_opts.ckpt_dir, sd_models.model_path) if folder]


def _lora_folders() -> list[Path]:
    """As the hosts' own loader walks them; none if it is switched off."""
    names = ("lora_dir", "lyco_dir_backcompat") if networks() is not None else ()
    folders = [getattr(shared.cmd_opts, name, None) for name in names]
    return [Path(folder) for folder in folders if folder]


def name_of_new_lora(path: Path) -> str | None:
    """What the host will call a LoRA that it does not list yet; None for any other file."""
    loras = (choice for choice in _UNLISTED if choice.label.startswith(LORA_LABEL))
    return next((choice.name for choice in loras if choice.path == path), None)


def refresh() -> None:
    """Have the host look for new checkpoints and LoRAs, and look for what it does not list."""
    sd_models.list_models()
    loader = networks()
    if loader is not None:
        loader.list_available_networks()
    look_for_files()


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
    """The same, None if there is none; files that came since are looked for.

    Raises:
        DiversityError: several files of one kind answer to it.
    """
    found = find(name, choices())
    if found is None:
        look_for_files()
        found = find(name, choices())
    return found


def networks() -> Any | None:
    """The host's LoRA loader, None if it is switched off; its folder is on the path only while the host starts it."""
    found = sys.modules.get("networks")
    return found if hasattr(found, "available_networks") else None
