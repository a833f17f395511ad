"""A patcher: a model that several of them share, and what each of them wants changed about it.

Cloning is how extensions make changes: the clone has its own, and the model is touched only when the memory management
loads one of them.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from typing import Any

import torch

from backend import memory_management, utils
from backend.patcher.lora import LoraLoader

ModelOptions = dict[str, Any]
_CFG1 = "disable_cfg1_optimization"


def _with_function(options: ModelOptions, name: str, function: Callable[..., Any], needs_uncond: bool) -> ModelOptions:
    options[name] = [*options.get(name, []), function]
    if needs_uncond:
        options[_CFG1] = True
    return options


def set_model_options_post_cfg_function(
    model_options: ModelOptions, post_cfg_function: Callable[..., Any], disable_cfg1_optimization: bool = False
) -> ModelOptions:
    return _with_function(model_options, "sampler_post_cfg_function", post_cfg_function, disable_cfg1_optimization)


def set_model_options_pre_cfg_function(
    model_options: ModelOptions, pre_cfg_function: Callable[..., Any], disable_cfg1_optimization: bool = False
) -> ModelOptions:
    return _with_function(model_options, "sampler_pre_cfg_function", pre_cfg_function, disable_cfg1_optimization)


def set_model_options_patch_replace(
    model_options: ModelOptions,
    patch: Any,
    name: str,
    block_name: str,
    number: int,
    transformer_index: int | None = None,
) -> ModelOptions:
    """Takes an attention's place in one block; dicts are copied, so that other clones keep theirs."""
    options = dict(model_options["transformer_options"])
    replaced = {kind: dict(patches) for kind, patches in options.get("patches_replace", {}).items()}
    place: tuple[Any, ...] = (
        (block_name, number) if transformer_index is None else (block_name, number, transformer_index)
    )
    replaced.setdefault(name, {})[place] = patch
    options["patches_replace"] = replaced
    model_options["transformer_options"] = options
    return model_options


def _moved(value: Any, target: Any) -> Any:
    return value.to(target) if hasattr(value, "to") else value


class ModelPatcher:
    """`lora_patches` are by (file, strength, strength of the model, online)."""

    def __init__(
        self,
        model: Any,
        load_device: torch.device,
        offload_device: torch.device,
        size: int = 0,
        current_device: torch.device | None = None,
        **kwargs: Any,
    ) -> None:
        del kwargs
        self.model = model
        self.size = size
        self.load_device, self.offload_device = load_device, offload_device
        self.current_device = offload_device if current_device is None else current_device
        self.lora_patches: dict[Any, dict[str, list[Any]]] = {}
        self.object_patches: dict[str, Any] = {}
        self.object_patches_backup: dict[str, Any] = {}
        self.model_options: ModelOptions = {"transformer_options": {}}
        self.model_size()
        if not hasattr(model, "lora_loader"):
            model.lora_loader = LoraLoader(model)
        self.lora_loader: LoraLoader = model.lora_loader

    def model_size(self) -> int:
        self.size = self.size or memory_management.module_size(self.model)
        return self.size

    def clone(self) -> Any:
        """Another patcher of the same model. Options are copied deeply: what they hold by reference is doubled."""
        other = type(self)(self.model, self.load_device, self.offload_device, self.size, self.current_device)
        other.lora_patches = dict(self.lora_patches)
        other.object_patches = dict(self.object_patches)
        other.model_options = copy.deepcopy(self.model_options)
        return other

    def is_clone(self, other: Any) -> bool:
        return getattr(other, "model", None) is self.model

    def add_patches(
        self,
        *,
        filename: str,
        patches: dict[Any, Any],
        strength_patch: float = 1.0,
        strength_model: float = 1.0,
        online_mode: bool = False,
    ) -> set[Any]:
        """Adds a network for those of its keys that this model has; returns these keys."""
        known = {name for name, _ in self.model.named_parameters()}
        fitting: dict[str, list[Any]] = {}
        used: set[Any] = set()
        for key, patch in patches.items():
            name, offset, function = (*([key] if isinstance(key, str) else key), None, None)[:3]
            if name in known:
                used.add(key)
                fitting.setdefault(name, []).append([strength_patch, patch, strength_model, offset, function])
        self.lora_patches[(filename, strength_patch, strength_model, online_mode)] = fitting
        return used

    def has_online_lora(self) -> bool:
        return any(online for *_, online in self.lora_patches)

    def refresh_loras(self) -> None:
        self.lora_loader.refresh(lora_patches=self.lora_patches, offload_device=self.offload_device)

    def memory_required(self, input_shape: Any) -> float:
        return self.model.memory_required(input_shape=input_shape)

    def set_model_sampler_cfg_function(
        self, sampler_cfg_function: Callable[..., Any], disable_cfg1_optimization: bool = False
    ) -> None:
        function = sampler_cfg_function
        if len(inspect.signature(function).parameters) == 3:  # as it was called once
            names = ("cond", "uncond", "cond_scale")
            function = lambda args: sampler_cfg_function(*(args[name] for name in names))  # noqa: E731
        self.model_options["sampler_cfg_function"] = function
        if disable_cfg1_optimization:
            self.model_options[_CFG1] = True

    def set_model_sampler_post_cfg_function(
        self, post_cfg_function: Callable[..., Any], disable_cfg1_optimization: bool = False
    ) -> None:
        set_model_options_post_cfg_function(self.model_options, post_cfg_function, disable_cfg1_optimization)

    def set_model_sampler_pre_cfg_function(
        self, pre_cfg_function: Callable[..., Any], disable_cfg1_optimization: bool = False
    ) -> None:
        set_model_options_pre_cfg_function(self.model_options, pre_cfg_function, disable_cfg1_optimization)

    def set_model_unet_function_wrapper(self, unet_wrapper_function: Callable[..., Any]) -> None:
        self.model_options["model_function_wrapper"] = unet_wrapper_function

    def set_model_vae_encode_wrapper(self, wrapper_function: Callable[..., Any]) -> None:
        self.model_options["model_vae_encode_wrapper"] = wrapper_function

    def set_model_vae_decode_wrapper(self, wrapper_function: Callable[..., Any]) -> None:
        self.model_options["model_vae_decode_wrapper"] = wrapper_function

    def set_model_vae_regulation(self, vae_regulation: Callable[..., Any]) -> None:
        self.model_options["model_vae_regulation"] = vae_regulation

    def set_model_patch(self, patch: Any, name: str) -> None:
        patches = self.model_options["transformer_options"].setdefault("patches", {})
        patches[name] = [*patches.get(name, []), patch]

    def set_model_patch_replace(
        self, patch: Any, name: str, block_name: str, number: int, transformer_index: int | None = None
    ) -> None:
        set_model_options_patch_replace(self.model_options, patch, name, block_name, number, transformer_index)

    def set_model_attn1_patch(self, patch: Any) -> None:
        self.set_model_patch(patch, "attn1_patch")

    def set_model_attn2_patch(self, patch: Any) -> None:
        self.set_model_patch(patch, "attn2_patch")

    def set_model_attn1_replace(
        self, patch: Any, block_name: str, number: int, transformer_index: int | None = None
    ) -> None:
        self.set_model_patch_replace(patch, "attn1", block_name, number, transformer_index)

    def set_model_attn2_replace(
        self, patch: Any, block_name: str, number: int, transformer_index: int | None = None
    ) -> None:
        self.set_model_patch_replace(patch, "attn2", block_name, number, transformer_index)

    def set_model_attn1_output_patch(self, patch: Any) -> None:
        self.set_model_patch(patch, "attn1_output_patch")

    def set_model_attn2_output_patch(self, patch: Any) -> None:
        self.set_model_patch(patch, "attn2_output_patch")

    def set_model_input_block_patch(self, patch: Any) -> None:
        self.set_model_patch(patch, "input_block_patch")

    def set_model_input_block_patch_after_skip(self, patch: Any) -> None:
        self.set_model_patch(patch, "input_block_patch_after_skip")

    def set_model_output_block_patch(self, patch: Any) -> None:
        self.set_model_patch(patch, "output_block_patch")

    def add_object_patch(self, name: str, obj: Any) -> None:
        self.object_patches[name] = obj

    def get_model_object(self, name: str) -> Any:
        """As this patcher wants it, else as the model has it of its own."""
        for known in (self.object_patches, self.object_patches_backup):
            if name in known:
                return known[name]
        return utils.get_attr(self.model, name)

    def model_patches_to(self, device: Any) -> None:
        """Patches that hold tensors go where the model goes."""
        options = self.model_options["transformer_options"]
        for patches in options.get("patches", {}).values():
            patches[:] = [_moved(patch, device) for patch in patches]
        for patches in options.get("patches_replace", {}).values():
            patches.update({place: _moved(patch, device) for place, patch in patches.items()})
        wrapper = self.model_options.get("model_function_wrapper")
        if wrapper is not None:
            self.model_options["model_function_wrapper"] = _moved(wrapper, device)

    def model_dtype(self) -> Any:
        return self.model.get_dtype() if hasattr(self.model, "get_dtype") else None

    def model_state_dict(self, filter_prefix: str | None = None) -> dict[str, torch.Tensor]:
        return {k: v for k, v in self.model.state_dict().items() if k.startswith(filter_prefix or "")}

    def forge_patch_model(self, target_device: torch.device | None = None) -> Any:
        for name, patch in self.object_patches.items():
            self.object_patches_backup.setdefault(name, utils.get_attr(self.model, name))
            utils.set_attr_raw(self.model, name, patch)
        self._move(target_device)
        return self.model

    def forge_unpatch_model(self, target_device: torch.device | None = None) -> None:
        self._move(target_device)
        for name, original in self.object_patches_backup.items():
            utils.set_attr_raw(self.model, name, original)
        self.object_patches_backup = {}

    def _move(self, device: torch.device | None) -> None:
        if device is not None:
            self.model.to(device)
            self.current_device = device
