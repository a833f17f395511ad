"""LoRAs: from a file's keys to a model's parameters, and into the weights or beside them.

A patch is (kind, values): "lora" with (tensors by the last part of their names, alpha), or "diff" with (difference,).
"""

from __future__ import annotations

from typing import Any

import torch
from modules import lora_kinds

Patch = tuple[str, tuple[Any, ...]]
_WEIGHT = ".weight"


def model_lora_keys_unet(model: Any, key_map: dict[str, str] | None = None) -> dict[str, str]:
    """Names that LoRA files use for the layers of a U-Net, to its parameters: ldm's, and kohya's after diffusers'."""
    keys, blocks = {} if key_map is None else key_map, model.diffusion_model.config["num_res_blocks"]
    for name in model.diffusion_model.state_dict():
        if name.endswith(_WEIGHT):
            layer, parameter = name.removesuffix(_WEIGHT), f"diffusion_model.{name}"
            known_as = lora_kinds.diffusers_name(layer, blocks)
            names = {f"diffusion_model.{layer}", f"lora_unet_{layer.replace('.', '_')}"}
            if known_as is not None:
                names |= {known_as, f"unet.{known_as}", f"lora_unet_{known_as.replace('.', '_')}"}
            keys.update((name, parameter) for name in names)
    return keys


def model_lora_keys_clip(model: Any, key_map: dict[str, str] | None = None) -> dict[str, str]:
    keys: Any = {} if key_map is None else key_map
    start = "clip_l.transformer."
    for name in model.state_dict():
        if name.startswith(f"{start}text_model.encoder.layers.") and name.endswith(_WEIGHT):
            layer = name.removeprefix(start).removesuffix(_WEIGHT)
            flat = layer.replace(".", "_")
            keys |= dict.fromkeys((f"text_encoder.{layer}", f"lora_te_{flat}", f"lora_te1_{flat}"), name)
    return keys


def load_lora(
    lora: dict[str, torch.Tensor], to_load: dict[str, str]
) -> tuple[dict[str, Patch], dict[str, torch.Tensor]]:
    """(patches by a model's parameter names, tensors that no name of `to_load` claims)."""
    by_layer: dict[str, dict[str, torch.Tensor]] = {}
    rest = {}
    for name, tensor in lora.items():
        layer = next((name[:i] for i in range(len(name)) if name[i] == "." and name[:i] in to_load), None)
        if layer is None:
            rest[name] = tensor
        else:
            by_layer.setdefault(layer, {})[name.removeprefix(f"{layer}.")] = tensor
    patches: dict[str, Patch] = {}
    for layer, tensors in by_layer.items():
        if lora_kinds.is_known(tensors):
            patches[to_load[layer]] = ("lora", (tensors, tensors["alpha"].item() if "alpha" in tensors else None))
        elif "diff" in tensors:
            patches[to_load[layer]] = ("diff", (tensors["diff"],))
        else:
            rest |= {f"{layer}.{part}": tensor for part, tensor in tensors.items()}
    return patches, rest


def _change(patch: Patch, weight: torch.Tensor) -> torch.Tensor:
    """What a patch adds at strength 1, in the weight's shape and type."""
    kind, values = patch if len(patch) == 2 else ("diff", patch)
    if kind == "diff":
        difference = values[0].to(weight)
        return difference if difference.shape == weight.shape else torch.zeros_like(weight)
    tensors, alpha = values
    difference, rank = lora_kinds.difference({name: tensor.to(weight) for name, tensor in tensors.items()})
    return difference.reshape(weight.shape) * (1.0 if alpha is None else alpha / rank)


def merge_lora_to_weight(
    patches: list[Any], weight: torch.Tensor, key: str = "online_lora", computation_dtype: torch.dtype = torch.float32
) -> torch.Tensor:
    """A new tensor in the weight's number type; each patch is [strength, patch, the weight's strength, offset,
    function], the last two of which are always None here but in what extensions send.
    """
    del key
    merged = weight.to(computation_dtype, copy=True)
    for strength, patch, strength_of_weight, offset, function in patches:
        part = merged if offset is None else merged.narrow(*offset)
        part *= strength_of_weight
        change = strength * _change(patch, part)
        part += change if function is None else function(change)
    return merged.to(weight.dtype)


class LoraLoader:
    """One for each model, whatever patchers there are. `backup` holds parameters as they were before a merge, and
    `loaded_hash` which networks are merged now; the same ones again change nothing.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self.backup: dict[str, torch.Tensor] = {}
        self.online_backup: list[Any] = []
        self.loaded_hash = str([])

    @torch.inference_mode()
    def refresh(self, lora_patches: dict[Any, dict[str, list[Any]]], offload_device: torch.device) -> None:
        wanted = str(list(lora_patches))
        if wanted == self.loaded_hash:
            return
        while self.online_backup:
            vars(self.online_backup.pop()).pop("forge_online_loras", None)
        while self.backup:
            name, tensor = self.backup.popitem()
            self._set(*self._owner(name), tensor)
        together: dict[tuple[str, bool], list[Any]] = {}
        for (*_, online), patches in lora_patches.items():
            for name, of_parameter in patches.items():
                together.setdefault((name, online), []).extend(of_parameter)
        for (name, online), patches in together.items():
            layer, last = self._owner(name)
            if online:
                vars(layer).setdefault("forge_online_loras", {})[last] = patches
                self.online_backup.append(layer)
            else:
                weight = getattr(layer, last)
                self.backup[name] = weight.to(offload_device)
                self._set(layer, last, merge_lora_to_weight(patches, weight, name))
        self.loaded_hash = wanted

    def _owner(self, name: str) -> tuple[torch.nn.Module, str]:
        """(the layer that has a parameter, the parameter's name in it)."""
        path, _, last = name.rpartition(".")
        try:
            return self.model.get_submodule(path), last
        except AttributeError as error:
            raise ValueError(f"The network changes {name}, which this model has not.") from error

    def _set(self, layer: torch.nn.Module, last: str, tensor: torch.Tensor) -> None:
        """Where the parameter that it takes the place of is."""
        moved = tensor.to(getattr(layer, last).device)
        own = moved if isinstance(moved, torch.nn.Parameter) else torch.nn.Parameter(moved, requires_grad=False)
        setattr(layer, last, own)
