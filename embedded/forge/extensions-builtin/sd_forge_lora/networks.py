"""LoRAs by patchers: the prompt's networks become patches of clones of the U-Net's and the text encoder's patchers,
from which each pass starts.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import torch
from backend.args import dynamic_args
from backend.patcher import lora as loras
from modules import errors, sd_models
from modules.lora_files import (  # noqa: F401
    NetworkOnDisk,
    available_network_aliases,
    available_networks,
    list_available_networks,
    on_disk_of,
)
from modules.sd_checkpoints import read_state_dict

_MOST_STRANGERS = 12
_MERGED_TYPES = (torch.float32, torch.float16, torch.bfloat16)


class Network(NamedTuple):
    """A network that the prompt mentions, by the name that it has there."""

    mentioned_name: str
    network_on_disk: NetworkOnDisk


loaded_networks: list[Network] = []
extra_network_lora: Any = None
load_lora_state_dict = functools.lru_cache(maxsize=5)(lambda filename: read_state_dict(filename, map_location="cpu"))


def load_lora_for_models(
    model: Any, clip: Any, strengths: tuple[float, float], filename: str, online_mode: bool
) -> tuple[Any, Any]:
    """(U-Net's patcher, text encoder) with one more network; unchanged for a file that is of another kind of model."""
    of_unet, rest = loras.load_lora(load_lora_state_dict(filename), loras.model_lora_keys_unet(model.model))
    of_clip, rest = loras.load_lora(rest, loras.model_lora_keys_clip(clip.cond_stage_model))
    if len(rest) > _MOST_STRANGERS:
        print(f"{filename} belongs to another kind of model: {len(rest)} of its tensors have no place in this one")
        return model, clip
    changed = []
    for part, patches, strength in zip((model, clip), (of_unet, of_clip), strengths):
        clone = part.clone() if patches else part
        if patches:
            clone.add_patches(filename=filename, patches=patches, strength_patch=strength, online_mode=online_mode)
        changed.append(clone)
    return changed[0], changed[1]


def load_networks(
    names: list[str], te_multipliers: list[float], unet_multipliers: list[float], dyn_dims: list[Any]
) -> None:
    """Makes these the wanted networks: at once in the patchers, in the weights when they are next loaded. The same ones
    again change nothing.
    """
    engine = sd_models.model_data.get_sd_model()
    if None in map(on_disk_of, names):
        list_available_networks()
    loaded_networks.clear()
    stored = engine.forge_objects.unet.model.storage_dtype
    online = bool(dynamic_args.get("online_lora")) and stored not in _MERGED_TYPES
    targets = []
    for name, *strengths in zip(names, unet_multipliers, te_multipliers):
        on_disk = on_disk_of(name)
        if on_disk is None:
            errors.report(f"There is no network called {name}")
            continue
        on_disk.read_hash()
        loaded_networks.append(Network(name, on_disk))
        targets.append((tuple(strengths), on_disk.filename, online))
    if str(targets) == engine.current_lora_hash:
        return
    engine.current_lora_hash = str(targets)
    objects = engine.forge_objects
    parts = (engine.forge_objects_original.unet, engine.forge_objects_original.clip)
    for target in targets:
        parts = load_lora_for_models(*parts, *target)
    objects.unet, objects.clip = parts
    engine.forge_objects_after_applying_lora = objects.shallow_copy()


list_available_networks()
