"""The U-Net's patcher."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from backend.modules.k_model import KModel
from backend.patcher.base import ModelPatcher


class UnetPatcher(ModelPatcher):
    """`controlnet_linked_list` is the last control added, which knows the one before it. The models in
    `extra_model_patchers_during_sampling` are loaded together with the U-Net.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.controlnet_linked_list: Any = None
        self.extra_concat_condition: Any = None
        self.extra_preserved_memory_during_sampling = 0
        self.extra_model_patchers_during_sampling: list[ModelPatcher] = []

    @classmethod
    def from_model(cls, model: Any, diffusers_scheduler: Any, config: Any, k_predictor: Any = None) -> UnetPatcher:
        wrapped = KModel(model, diffusers_scheduler, k_predictor, config)
        return cls(wrapped, model.load_device, model.offload_device, current_device=model.initial_device)

    def clone(self) -> UnetPatcher:
        other = super().clone()
        other.controlnet_linked_list = self.controlnet_linked_list
        other.extra_concat_condition = self.extra_concat_condition
        other.extra_preserved_memory_during_sampling = self.extra_preserved_memory_during_sampling
        other.extra_model_patchers_during_sampling = [*self.extra_model_patchers_during_sampling]
        return other

    def add_extra_preserved_memory_during_sampling(self, memory_in_bytes: int) -> None:
        self.extra_preserved_memory_during_sampling += memory_in_bytes

    def add_extra_model_patcher_during_sampling(self, model_patcher: ModelPatcher) -> None:
        self.extra_model_patchers_during_sampling.append(model_patcher)

    def add_patched_controlnet(self, cnet: Any) -> None:
        self.controlnet_linked_list = cnet.set_previous_controlnet(self.controlnet_linked_list)

    def list_controlnets(self) -> list[Any]:
        last = self.controlnet_linked_list
        found = [] if last is None else [last]
        while found and found[-1].previous_controlnet is not None:
            found.append(found[-1].previous_controlnet)
        return found

    def add_conditioning_modifier(self, modifier: Callable[..., Any], ensure_uniqueness: bool = False) -> None:
        """`modifier(model, x, timestep, uncond, cond, cond_scale, model_options, seed)` returns all eight, changed."""
        modifiers = self.model_options.setdefault("conditioning_modifiers", [])
        if not ensure_uniqueness or modifier not in modifiers:
            modifiers.append(modifier)
