"""A patcher: a model that several of them share, and what each of them wants changed about it.

Cloning is how extensions make changes: the clone has its own, and the model is touched only when the memory management
loads one of them.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch

from backend.patcher.lora import LoraLoader


class ModelPatcher:
    """`lora_patches` are by (file, strength, strength of the model, online)."""

    def __init__(self, model: Any, load_device: torch.device, offload_device: torch.device) -> None:
        self.model, self.load_device, self.offload_device = model, load_device, offload_device
        self.current_device = offload_device
        self.lora_patches: dict[Any, dict[str, list[Any]]] = {}
        self.object_patches: dict[str, Any] = {}
        self.model_options: dict[str, Any] = {"transformer_options": {}}
        if not hasattr(model, "lora_loader"):
            model.lora_loader = LoraLoader(model)
        self.lora_loader: LoraLoader = model.lora_loader

    def clone(self) -> Any:
        """Another patcher of the same model. Options are copied deeply: what they hold by reference is doubled."""
        other = copy.copy(self)
        other.lora_patches, other.object_patches = {**self.lora_patches}, {**self.object_patches}
        other.model_options = copy.deepcopy(self.model_options)
        return other

    def is_clone(self, other: Any) -> bool:
        return getattr(other, "model", None) is self.model

    def add_patches(
        self, *, filename: str, patches: dict[str, Any], strength_patch: float = 1.0, online_mode: bool = False
    ) -> set[str]:
        """Adds a network for those parameters that this model has; returns their names."""
        used = patches.keys() & dict(self.model.named_parameters())
        named = {name: [[strength_patch, patch, 1.0, None, None]] for name, patch in patches.items() if name in used}
        self.lora_patches[filename, strength_patch, 1.0, online_mode] = named
        return used

    def has_online_lora(self) -> bool:
        return any(online for *_, online in self.lora_patches)

    def refresh_loras(self) -> None:
        self.lora_loader.refresh(self.lora_patches, self.offload_device)

    def memory_required(self, input_shape: Any) -> float:
        return self.model.memory_required(input_shape=input_shape)

    def model_dtype(self) -> Any:
        return self.model.get_dtype() if hasattr(self.model, "get_dtype") else None

    def _add(self, name: str, function: Callable[..., Any], needs_uncond: bool) -> None:
        options = self.model_options
        options.setdefault(name, []).append(function)
        options["disable_cfg1_optimization"] = needs_uncond or options.get("disable_cfg1_optimization", False)

    def set_model_sampler_pre_cfg_function(
        self, pre_cfg_function: Callable[..., Any], disable_cfg1_optimization: bool = False
    ) -> None:
        self._add("sampler_pre_cfg_function", pre_cfg_function, disable_cfg1_optimization)

    def set_model_sampler_post_cfg_function(
        self, post_cfg_function: Callable[..., Any], disable_cfg1_optimization: bool = False
    ) -> None:
        self._add("sampler_post_cfg_function", post_cfg_function, disable_cfg1_optimization)

    def set_model_sampler_cfg_function(self, sampler_cfg_function: Callable[..., Any]) -> None:
        self.model_options["sampler_cfg_function"] = sampler_cfg_function

    def set_model_unet_function_wrapper(self, unet_wrapper_function: Callable[..., Any]) -> None:
        self.model_options["model_function_wrapper"] = unet_wrapper_function

    def set_model_output_block_patch(self, patch: Callable[..., Any]) -> None:
        """`patch(h, skip, options)` returns both, changed, before each output block of the U-Net."""
        patches = self.model_options["transformer_options"].setdefault("patches", {})
        patches.setdefault("output_block_patch", []).append(patch)

    def model_patches_to(self, device: Any) -> None:
        """Patches that hold tensors go where the model goes."""
        for patches in self.model_options["transformer_options"].get("patches", {}).values():
            patches[:] = [patch.to(device) if hasattr(patch, "to") else patch for patch in patches]

    def forge_patch_model(self, target_device: torch.device | None = None) -> Any:
        self._move(target_device)
        return self.model

    def forge_unpatch_model(self, target_device: torch.device | None = None) -> None:
        self._move(target_device)

    def _move(self, device: torch.device | None) -> None:
        if device is not None:
            self.current_device = device
            self.model.to(device)
