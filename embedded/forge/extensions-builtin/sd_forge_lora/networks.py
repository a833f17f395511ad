"""LoRAs by patchers: the prompt's networks become patches of clones of the U-Net's and the text encoder's patchers.

From those each pass starts.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import extra_networks_lora
import torch
from backend.args import dynamic_args
from backend.patcher.lora import load_lora, model_lora_keys_clip, model_lora_keys_unet
from backend.utils import load_torch_file
from modules import errors, sd_models
from modules.lora_files import (
    NetworkOnDisk,
    available_network_aliases,
    available_networks,
    forbidden_network_aliases,
    list_available_networks,
    on_disk_of,
)

_MOST_STRANGERS = 12
_MERGED_TYPES = (torch.float32, torch.float16, torch.bfloat16)


@dataclass
class Network:
    """A network that the prompt mentions."""

    name: str
    network_on_disk: NetworkOnDisk
    mentioned_name: str


loaded_networks: list[Network] = []
# Set by scripts/lora_script.py once the host registers it.
extra_network_lora: extra_networks_lora.ExtraNetworkLora = None  # pyright: ignore[reportAssignmentType]


@functools.lru_cache(maxsize=5)
def load_lora_state_dict(filename: str) -> dict[str, torch.Tensor]:
    return load_torch_file(filename, safe_load=True)


def _patched(part: Any, patches: dict[str, Any], filename: str, strength: float, online_mode: bool) -> Any:
    """A clone with the patches, or the same where too many do not fit."""
    if not patches:
        return part
    changed = part.clone()
    used = changed.add_patches(filename=filename, patches=patches, strength_patch=strength, online_mode=online_mode)
    strangers = len(patches) - len(used)
    print(f"{filename}: {len(used)} layers at weight {strength}, {strangers} passed over, at each call: {online_mode}")
    return part if strangers > _MOST_STRANGERS else changed


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
    of_unet, rest = load_lora(lora, model_lora_keys_unet(model.model))
    of_clip, rest = load_lora(rest, model_lora_keys_clip(clip.cond_stage_model))
    if len(rest) > _MOST_STRANGERS:
        print(f"{filename} belongs to another kind of model: {len(rest)} of its tensors have no place in this one")
        return model, clip
    return (
        _patched(model, of_unet, filename, strength_model, online_mode),
        _patched(clip, of_clip, filename, strength_clip, online_mode),
    )


def _found(names: list[str]) -> list[NetworkOnDisk | None]:
    if any(on_disk_of(name) is None for name in names):
        list_available_networks()
    return [on_disk_of(name) for name in names]


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
    model = sd_models.model_data.get_sd_model()
    loaded_networks.clear()
    targets = []
    for name, on_disk, te, unet in zip(
        names, _found(names), te_multipliers or [], unet_multipliers or [], strict=False
    ):
        if on_disk is None:
            errors.report(f"There is no network called {name}")
            continue
        on_disk.read_hash()
        loaded_networks.append(Network(name, on_disk, name))
        targets.append((on_disk.filename, unet, te, _online(model)))
    if model.current_lora_hash != str(targets):
        model.current_lora_hash = str(targets)
        _apply(model, targets)


def _online(model: Any) -> bool:
    """Asked for, and the U-Net is stored in a type that nothing can be merged into."""
    merged = model.forge_objects.unet.model.storage_dtype in _MERGED_TYPES
    return bool(dynamic_args.get("online_lora")) and not merged


def _apply(model: Any, targets: list[tuple[str, float, float, bool]]) -> None:
    original, objects = model.forge_objects_original, model.forge_objects
    objects.unet, objects.clip = original.unet, original.clip
    for filename, strength_model, strength_clip, online in targets:
        lora = load_lora_state_dict(filename)
        objects.unet, objects.clip = load_lora_for_models(
            objects.unet, objects.clip, lora, strength_model, strength_clip, filename=filename, online_mode=online
        )
    model.forge_objects_after_applying_lora = objects.shallow_copy()


list_available_networks()

__all__ = ["available_network_aliases", "available_networks", "forbidden_network_aliases", "load_networks"]
