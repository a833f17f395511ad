"""The U-Net's patcher."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from backend import memory_management
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
        return cls(wrapped, memory_management.get_torch_device(), memory_management.cpu)

    def clone(self) -> UnetPatcher:
        other = super().clone()
        other.extra_model_patchers_during_sampling = [*self.extra_model_patchers_during_sampling]
        return other

    def add_extra_preserved_memory_during_sampling(self, memory_in_bytes: int) -> None:
        self.extra_preserved_memory_during_sampling += memory_in_bytes

    def add_extra_model_patcher_during_sampling(self, model_patcher: ModelPatcher) -> None:
        self.extra_model_patchers_during_sampling.append(model_patcher)

    def add_patched_controlnet(self, cnet: Any) -> None:
        self.controlnet_linked_list = cnet.set_previous_controlnet(self.controlnet_linked_list)

    def list_controlnets(self) -> list[Any]:
        found, control = [], self.controlnet_linked_list
        while control is not None:
            found.append(control)
            control = control.previous_controlnet
        return found

    def add_conditioning_modifier(self, modifier: Callable[..., Any]) -> None:
        """`modifier(model, x, timestep, uncond, cond, cond_scale, model_options, seed)` returns all eight, changed."""
        self.model_options.setdefault("conditioning_modifiers", []).append(modifier)
