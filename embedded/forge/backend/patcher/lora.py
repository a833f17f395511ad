"""LoRAs: from a file's keys to a model's parameters, and into the weights or beside them.

A patch is (kind, values): "lora" with (tensors by the last part of their names, alpha, DoRA's scale), or "diff" with
(difference,).
"""

from __future__ import annotations

from typing import Any

import torch
from modules import lora_kinds

from backend import memory_management, utils

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
    keys = dict[str, str]() if key_map is None else key_map
    start = "clip_l.transformer."
    for name in model.state_dict():
        if name.startswith(f"{start}text_model.encoder.layers.") and name.endswith(_WEIGHT):
            layer = name.removeprefix(start).removesuffix(_WEIGHT)
            flat = layer.replace(".", "_")
            for known_as in (f"text_encoder.{layer}", f"lora_te_{flat}", f"lora_te1_{flat}"):
                keys[known_as] = name
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
        alpha, dora = tensors.pop("alpha", None), tensors.pop("dora_scale", None)
        if lora_kinds.is_known(tensors):
            values = (tensors, None if alpha is None else alpha.item(), dora)
            patches[to_load[layer]] = ("lora", values)
        elif "diff" in tensors:
            patches[to_load[layer]] = ("diff", (tensors["diff"],))
        else:
            rest |= {f"{layer}.{part}": tensor for part, tensor in tensors.items()}
    return patches, rest


def _change(patch: Patch, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
    """(what a patch adds at strength 1, in the weight's shape and type; DoRA's scale)."""
    kind, values = patch if len(patch) == 2 else ("diff", patch)
    if kind == "diff":
        difference = values[0].to(weight)
        return (difference if difference.shape == weight.shape else torch.zeros_like(weight)), None
    tensors, alpha, dora = values
    difference, rank = lora_kinds.difference({name: tensor.to(weight) for name, tensor in tensors.items()})
    scale = alpha / rank if alpha is not None and rank else 1.0
    return difference.reshape(weight.shape) * scale, dora


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
        change, _ = _change(patch, part)
        part += strength * change if function is None else function(strength * change)
    return merged.to(weight.dtype)


class LoraLoader:
    """One for each model, whatever patchers there are. `backup` holds parameters as they were before a merge, and
    `loaded_hash` which networks are merged now; the same ones again change nothing.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self.backup: dict[str, torch.nn.Parameter] = {}
        self.online_backup: list[Any] = []
        self.loaded_hash = str([])

    @torch.inference_mode()
    def refresh(
        self,
        lora_patches: dict[Any, dict[str, list[Any]]],
        offload_device: torch.device = memory_management.cpu,
        force_refresh: bool = False,
    ) -> None:
        wanted = str(list(lora_patches))
        if wanted == self.loaded_hash and not force_refresh:
            return
        places = {name: parameter.device for name, parameter in self.model.named_parameters()}
        self._take_out()
        together: dict[tuple[str, bool], list[Any]] = {}
        for (*_, online), patches in lora_patches.items():
            for name, of_parameter in patches.items():
                together.setdefault((name, online), []).extend(of_parameter)
        for (name, online), patches in together.items():
            self._put_in(name, patches, online, offload_device)
        for name, device in places.items():
            if (parameter := utils.get_attr(self.model, name)).device != device:
                self._set(name, parameter.to(device))
        self.loaded_hash = wanted

    def _set(self, name: str, tensor: torch.Tensor) -> None:
        utils.set_attr_raw(self.model, name, utils.parameter_of(tensor))

    def _take_out(self) -> None:
        while self.online_backup:
            vars(self.online_backup.pop()).pop("forge_online_loras", None)
        while self.backup:
            self._set(*self.backup.popitem())

    def _put_in(self, name: str, patches: list[Any], online: bool, offload_device: torch.device) -> None:
        try:
            layer, last = utils.owner_of(self.model, name)
        except AttributeError as error:
            raise ValueError(f"The network changes {name}, which this model has not.") from error
        if online:
            vars(layer).setdefault("forge_online_loras", {})[last] = patches
            self.online_backup.append(layer)
        else:
            weight = getattr(layer, last)
            self.backup[name] = weight.to(offload_device)
            self._set(name, merge_lora_to_weight(patches, weight, name))
