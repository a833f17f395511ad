"""Short hashes of model files, by the host's own lists and its cache of hashes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from modules import hashes, sd_models

from extension_core.errors import DiversityError
from extension_core.hosts.common.files.choices import name_of_new_lora, networks
from extension_core.options.model_names import LORA_LABEL
from extension_core.weights import kinds_of_file
from extension_core.weights.choices import Choice

_LENGTH = 10
_LENGTH_OF_LORA = 12


def known(path: Path) -> str:
    """As the host writes it of a checkpoint or a LoRA; "" if it was not calculated yet, or the file is gone."""
    if (entry := _lora(path)) is not None:
        return entry.shorthash or ""
    if (name := name_of_new_lora(path)) is not None:
        with suppress(OSError):
            return _of_new_lora(path, name, hashes.sha256_from_cache)
        return ""
    return _remembered(path, _title(path))


def having(short_hash: str, listed: Iterable[Choice]) -> list[Choice]:
    """Entries of whose files the host knows this hash; nothing is read for it, and the host's lists once."""
    loras = {Path(entry.filename) for entry in _listed_loras() if entry.shorthash == short_hash}
    titles = {Path(info.filename): f"checkpoint/{info.name}" for info in list(sd_models.checkpoints_list.values())}

    def has_it(choice: Choice) -> bool:
        if choice.label.startswith(LORA_LABEL):
            return choice.path in loras
        return _remembered(choice.path, titles.get(choice.path, f"unet/{choice.path}")) == short_hash

    return [choice for choice in listed if has_it(choice)]


def _remembered(path: Path, title: str) -> str:
    with suppress(OSError):
        return (hashes.sha256_from_cache(str(path), title) or "")[:_LENGTH]
    return ""


def calculated(path: Path) -> str:
    """The same; a file that is not known is read as a whole, once. "" where users have switched hashes off.

    And of a file that went away while it was read: whether it is needed is not for its hash to say.
    """
    with suppress(OSError):
        if (entry := _lora(path)) is not None:
            entry.read_hash()
            return entry.shorthash or ""
        if (name := name_of_new_lora(path)) is not None:
            return _of_new_lora(path, name, hashes.sha256)
        return (hashes.sha256(str(path), _title(path)) or "")[:_LENGTH]
    return ""


def _of_new_lora(path: Path, name: str, ask: Callable[..., str | None]) -> str:
    """As the host will write it once it lists the file: what its trainer has stated comes first (extensions-builtin/
    Lora/network.py, 1.10.1).
    """
    has_header, stated = path.suffix.lower() == ".safetensors", ""
    if has_header:
        with suppress(DiversityError):
            stated = kinds_of_file.header_metadata(path).get("sshs_model_hash", "")
    return (stated or ask(str(path), f"lora/{name}", use_addnet_hash=has_header) or "")[:_LENGTH_OF_LORA]


def _lora(path: Path) -> Any | None:
    return _of_file(path, _listed_loras())


def _listed_loras() -> list[Any]:
    return list(getattr(networks(), "available_networks", {}).values())


def _title(path: Path) -> str:
    """The name under which the host remembers the hash; not its `calculate_shorthash`, which renames what it lists."""
    info = _of_file(path, sd_models.checkpoints_list.values())
    return f"unet/{path}" if info is None else f"checkpoint/{info.name}"


def _of_file(path: Path, listed: Iterable[Any]) -> Any | None:
    """The host's entry of a file; the names' ends are compared first, as there may be thousands."""
    same_name = (entry for entry in list(listed) if entry.filename.endswith(path.name))
    return next((entry for entry in same_name if Path(entry.filename) == path), None)
