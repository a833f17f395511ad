"""LoRAs by patchers: the prompt's networks become patches of clones of the U-Net's and the text encoder's patchers,
from which each pass starts.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import torch
from backend.args import dynamic_args
from backend.patcher import lora as loras
from backend.utils import load_torch_file
from modules import errors, sd_models
from modules.lora_files import (
    NetworkOnDisk,
    available_network_aliases,
    available_networks,
    list_available_networks,
    on_disk_of,
)

_MOST_STRANGERS = 12
_MERGED_TYPES = (torch.float32, torch.float16, torch.bfloat16)


@dataclass
class Network:
    """A network that the prompt mentions, by the name that it has there."""

    name: str
    network_on_disk: NetworkOnDisk

    @property
    def mentioned_name(self) -> str:
        return self.name


loaded_networks: list[Network] = []
load_lora_state_dict = functools.lru_cache(maxsize=5)(load_torch_file)


def load_lora_for_models(
    model: Any,
    clip: Any,
    lora: dict[str, torch.Tensor],
    strength_model: float,
    strength_clip: float,
    filename: str = "default",
    online_mode: bool = False,
) -> tuple[Any, Any]:
    """(U-Net's patcher, text encoder) with one more network; unchanged for a file that is of another kind of model."""
    of_unet, rest = loras.load_lora(lora, loras.model_lora_keys_unet(model.model))
    of_clip, rest = loras.load_lora(rest, loras.model_lora_keys_clip(clip.cond_stage_model))
    if len(rest) > _MOST_STRANGERS:
        print(f"{filename} belongs to another kind of model: {len(rest)} of its tensors have no place in this one")
        return model, clip
    changed = []
    for part, patches, strength in ((model, of_unet, strength_model), (clip, of_clip, strength_clip)):
        clone = part.clone() if patches else part
        if patches:
            how = {"filename": filename, "strength_patch": strength, "online_mode": online_mode}
            used = clone.add_patches(patches=patches, **how)
            clone = part if len(patches) - len(used) > _MOST_STRANGERS else clone
        changed.append(clone)
    return changed[0], changed[1]


def load_networks(
    names: list[str],
    te_multipliers: list[float] | None = None,
    unet_multipliers: list[float] | None = None,
    dyn_dims: list[Any] | None = None,
) -> None:
    """Makes these the wanted networks: at once in the patchers, in the weights when they are next loaded. The same ones
    again change nothing.
    """
    del dyn_dims
    engine = sd_models.model_data.get_sd_model()
    if None in map(on_disk_of, names):
        list_available_networks()
    loaded_networks.clear()
    stored = engine.forge_objects.unet.model.storage_dtype
    online = bool(dynamic_args.get("online_lora")) and stored not in _MERGED_TYPES
    targets = []
    for place, name in enumerate(names):
        on_disk = on_disk_of(name)
        if on_disk is None:
            errors.report(f"There is no network called {name}")
            continue
        on_disk.read_hash()
        loaded_networks.append(Network(name, on_disk))
        strengths = (given[place] if given else 1.0 for given in (unet_multipliers, te_multipliers))
        targets.append((on_disk.filename, *strengths, online))
    if str(targets) == engine.current_lora_hash:
        return
    engine.current_lora_hash = str(targets)
    objects = engine.forge_objects
    parts = (engine.forge_objects_original.unet, engine.forge_objects_original.clip)
    for filename, *strengths, at_calls in targets:
        parts = load_lora_for_models(*parts, load_lora_state_dict(filename), *strengths, filename, at_calls)
    objects.unet, objects.clip = parts
    engine.forge_objects_after_applying_lora = objects.shallow_copy()


list_available_networks()
__all__ = ["available_network_aliases", "available_networks", "list_available_networks", "load_networks"]
