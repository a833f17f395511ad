"""Short hashes of model files, by the host's own lists and its cache of hashes."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from modules import hashes, sd_models

from extension_core.hosts.webui.choices import networks

_LENGTH = 10


def known(path: Path) -> str:
    """As the host writes it of a checkpoint or a LoRA; "" if it was not calculated yet, or the file is gone."""
    if (entry := _lora(path)) is not None:
        return entry.shorthash or ""
    with suppress(OSError):
        return (hashes.sha256_from_cache(str(path), _title(path)) or "")[:_LENGTH]
    return ""


def calculated(path: Path) -> str:
    """The same; a file that is not known is read as a whole, once. "" where users have switched hashes off.

    And of a file that went away while it was read: whether it is needed is not for its hash to say.
    """
    with suppress(OSError):
        if (entry := _lora(path)) is not None:
            entry.read_hash()
            return entry.shorthash or ""
        return (hashes.sha256(str(path), _title(path)) or "")[:_LENGTH]
    return ""


def _lora(path: Path) -> Any | None:
    listed = getattr(networks(), "available_networks", {})
    return next((entry for entry in listed.values() if Path(entry.filename) == path), None)


def _title(path: Path) -> str:
    """The name under which the host remembers the hash; not its `calculate_shorthash`, which renames what it lists."""
    for info in list(sd_models.checkpoints_list.values()):
        if Path(info.filename) == path:
            return f"checkpoint/{info.name}"
    return f"unet/{path}"
