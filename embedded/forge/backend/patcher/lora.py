"""LoRAs: from a file's keys to a model's parameters, and into the weights or beside them.

A patch is (kind, values): "lora" with (tensors by the last part of their names, alpha, DoRA's scale), or "diff" with
(difference,).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from modules import lora_kinds

from backend import memory_management, utils
from backend.patcher.lora_names import diffusers_name

_WEIGHT = ".weight"


def _patch_of(lora: dict[str, torch.Tensor], prefix: str, used: set[str]) -> tuple[str, tuple[Any, ...]] | None:
    def take(part: str) -> torch.Tensor | None:
        name = f"{prefix}.{part}"
        if name in lora:
            used.add(name)
        return lora.get(name)

    alpha, dora = take("alpha"), take("dora_scale")
    w = {part: tensor for part in lora_kinds.PARTS if (tensor := take(part)) is not None}
    if lora_kinds.is_known(w):
        return "lora", (w, None if alpha is None else alpha.item(), dora)
    difference = take("diff")
    return None if difference is None else ("diff", (difference,))


def load_lora(
    lora: dict[str, torch.Tensor], to_load: dict[str, str]
) -> tuple[dict[str, tuple[str, tuple[Any, ...]]], dict[str, torch.Tensor]]:
    """(patches by a model's parameter names, tensors that no name of `to_load` claims)."""
    used: set[str] = set()
    patches = {}
    for prefix, parameter in to_load.items():
        patch = _patch_of(lora, prefix, used)
        if patch is not None:
            patches[parameter] = patch
    return patches, {name: tensor for name, tensor in lora.items() if name not in used}


def _weights(model: torch.nn.Module) -> Iterable[str]:
    return [name for name in model.state_dict() if name.endswith(_WEIGHT)]


def model_lora_keys_unet(model: Any, key_map: dict[str, str] | None = None) -> dict[str, str]:
    """Names that LoRA files use for the layers of a U-Net, to its parameters: ldm's, and kohya's after diffusers'."""
    blocks = model.diffusion_model.config["num_res_blocks"]
    keys = {} if key_map is None else key_map
    for name in _weights(model):
        if not name.startswith("diffusion_model."):
            continue
        layer = name.removesuffix(_WEIGHT)
        keys[layer] = name
        inner = layer.removeprefix("diffusion_model.")
        keys["lora_unet_" + inner.replace(".", "_")] = name
        known_as = diffusers_name(inner, blocks)
        if known_as is not None:
            keys["lora_unet_" + known_as.replace(".", "_")] = name
            keys["unet." + known_as] = keys[known_as] = name
    return keys


def model_lora_keys_clip(model: Any, key_map: dict[str, str] | None = None) -> dict[str, str]:
    keys = {} if key_map is None else key_map
    start = "clip_l.transformer."
    for name in _weights(model):
        if not name.startswith(start + "text_model.encoder.layers."):
            continue
        inner = name.removeprefix(start).removesuffix(_WEIGHT)
        for known_as in ("lora_te_", "lora_te1_"):
            keys[known_as + inner.replace(".", "_")] = name
        keys["text_encoder." + inner] = name
    return keys


def _of_network(values: tuple[Any, ...], weight: torch.Tensor) -> torch.Tensor:
    """What a network adds, scaled by alpha / rank, in the weight's shape and number type."""
    w, alpha, _ = values
    difference, rank = lora_kinds.difference({name: tensor.to(weight) for name, tensor in w.items()})
    return difference.reshape(weight.shape) * (1.0 if alpha is None or not rank else alpha / rank)


def _difference_in_shape(values: tuple[Any, ...], weight: torch.Tensor) -> torch.Tensor | None:
    difference = values[0].to(weight)
    return difference if difference.shape == weight.shape else None


def _applied(patch: tuple[str, tuple[Any, ...]], weight: torch.Tensor, strength: float, function: Any) -> torch.Tensor:
    kind, values = patch if len(patch) == 2 else ("diff", patch)
    shaped: Callable[[torch.Tensor], torch.Tensor] = function or (lambda tensor: tensor)
    if kind == "set":
        return values[0].to(weight)
    if kind == "diff":
        difference = _difference_in_shape(values, weight)
        return weight if difference is None else weight + strength * difference
    if kind != "lora":
        print(f"A network's patch of kind {kind} is not known and left out")
        return weight
    difference, dora = _of_network(values, weight), values[2]
    if dora is not None:
        whole = lora_kinds.decomposed(weight, weight + shaped(difference), dora.to(weight.device))
        return weight + strength * (whole - weight)
    return weight + shaped(strength * difference)


def merge_lora_to_weight(
    patches: list[Any], weight: torch.Tensor, key: str = "online_lora", computation_dtype: torch.dtype = torch.float32
) -> torch.Tensor:
    """A new tensor in the weight's number type; each patch is [strength, patch, the weight's strength, offset,
    function].
    """
    del key
    stored, result = weight.dtype, weight.to(computation_dtype)
    for strength, patch, strength_of_weight, offset, function in patches:
        part = result if offset is None else result.narrow(*offset)
        changed = _applied(patch, part * strength_of_weight, strength, function)
        if offset is None:
            result = changed
        else:
            result = result.clone()
            result.narrow(*offset).copy_(changed)
    return (result.clone() if result is weight else result).to(stored)


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
        self._restore()
        for (name, online), patches in self._by_parameter(lora_patches).items():
            self._apply(name, patches, online, offload_device)
        self._bring_to(places)
        self.loaded_hash = wanted

    @staticmethod
    def _by_parameter(lora_patches: dict[Any, dict[str, list[Any]]]) -> dict[tuple[str, bool], list[Any]]:
        found: dict[tuple[str, bool], list[Any]] = {}
        for (*_, online), patches in lora_patches.items():
            for name, of_parameter in patches.items():
                found.setdefault((name, online), []).extend(of_parameter)
        return found

    def _restore(self) -> None:
        for layer in self.online_backup:
            layer.__dict__.pop("forge_online_loras", None)
        self.online_backup = []
        for name, parameter in self.backup.items():
            utils.set_attr_raw(self.model, name, utils.tensor2parameter(parameter))
        self.backup = {}

    def _apply(self, name: str, patches: list[Any], online: bool, offload_device: torch.device) -> None:
        try:
            layer, child, weight = utils.get_attr_with_parent(self.model, name)
        except AttributeError as error:
            raise ValueError(f"The network changes {name}, which this model has not.") from error
        if online:
            layer.__dict__.setdefault("forge_online_loras", {})[child] = patches
            self.online_backup.append(layer)
            return
        self.backup.setdefault(name, weight.to(offload_device))
        utils.set_attr(self.model, name, merge_lora_to_weight(patches, weight, name))

    def _bring_to(self, places: dict[str, torch.device]) -> None:
        for name, device in places.items():
            parameter = utils.get_attr(self.model, name)
            if parameter.device != device:
                utils.set_attr_raw(self.model, name, utils.tensor2parameter(parameter.to(device)))
