"""What can be a distilled model on this host: its checkpoints, U-Nets that it does not list, its LoRAs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from modules import paths, sd_models, shared

from extension_core.errors import DiversityError
from extension_core.weights.choices import Choice, find, lora_choice, not_found, unet_choices, unet_folders

# Process-wide on purpose, as the host's own lists are: walking folders on every change of the page would be slow.
_UNETS: list[Choice] = []


def choices() -> list[Choice]:
    """Everything that can be chosen: the host's checkpoints, U-Nets as last looked for, the host's LoRAs."""
    checkpoints = [
        Choice(info.title, info.name_for_extra, Path(info.filename), info.name_for_extra, tuple(info.ids))
        for info in list(sd_models.checkpoints_list.values())
    ]
    return [*checkpoints, *_UNETS, *(lora_choice(name, path) for name, path in sorted(_loras().items()))]


def _loras() -> dict[str, Path]:
    available = getattr(networks(), "available_networks", {})
    return {name: Path(entry.filename) for name, entry in available.items()}


def look_for_unets() -> None:
    """Look for U-Net files: in the checkpoints' folders what the host does not list, and in folders for U-Nets."""
    listed = [Path(info.filename) for info in list(sd_models.checkpoints_list.values())] + list(_loras().values())
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
            "Diversity Distillation has no distilled model: distilled_model is empty; choose one or untick it."
        )
    found = find(name, choices())
    if found is None:
        look_for_unets()
        found = find(name, choices())
    if found is None:
        raise not_found(name, choices())
    return found


def networks() -> Any | None:
    """The host's LoRA loader, None if it is switched off; its folder is on the path only while the host starts it."""
    found = sys.modules.get("networks")
    return found if hasattr(found, "available_networks") else None
