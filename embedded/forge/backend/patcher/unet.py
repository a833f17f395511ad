"""The U-Net's patcher."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from backend.modules.k_model import KModel
from backend.patcher.base import ModelPatcher


class UnetPatcher(ModelPatcher):
    """`controlnet_linked_list` is the last control added, which knows the one before it. The models in
    `extra_model_patchers_during_sampling` are loaded together with the U-Net.
    """

    @classmethod
    def from_model(cls, model: Any, diffusers_scheduler: Any, config: Any, k_predictor: Any = None) -> UnetPatcher:
        wrapped = KModel(model=model, diffusers_scheduler=diffusers_scheduler, k_predictor=k_predictor, config=config)
        return UnetPatcher(
            wrapped,
            load_device=model.load_device,
            offload_device=model.offload_device,
            current_device=model.initial_device,
        )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.controlnet_linked_list: Any = None
        self.extra_preserved_memory_during_sampling = 0
        self.extra_model_patchers_during_sampling: list[ModelPatcher] = []
        self.extra_concat_condition: Any = None

    def clone(self) -> UnetPatcher:
        other = super().clone()
        for name in ("controlnet_linked_list", "extra_preserved_memory_during_sampling", "extra_concat_condition"):
            setattr(other, name, getattr(self, name))
        other.extra_model_patchers_during_sampling = list(self.extra_model_patchers_during_sampling)
        return other

    def add_extra_preserved_memory_during_sampling(self, memory_in_bytes: int) -> None:
        self.extra_preserved_memory_during_sampling += memory_in_bytes

    def add_extra_model_patcher_during_sampling(self, model_patcher: ModelPatcher) -> None:
        self.extra_model_patchers_during_sampling.append(model_patcher)

    def add_extra_torch_module_during_sampling(
        self, m: torch.nn.Module, cast_to_unet_dtype: bool = True
    ) -> ModelPatcher:
        if cast_to_unet_dtype:
            m.to(self.model.diffusion_model.dtype)
        patcher = ModelPatcher(model=m, load_device=self.load_device, offload_device=self.offload_device)
        self.add_extra_model_patcher_during_sampling(patcher)
        return patcher

    def add_patched_controlnet(self, cnet: Any) -> None:
        cnet.set_previous_controlnet(self.controlnet_linked_list)
        self.controlnet_linked_list = cnet

    def list_controlnets(self) -> list[Any]:
        found, control = [], self.controlnet_linked_list
        while control is not None:
            found.append(control)
            control = control.previous_controlnet
        return found

    def append_model_option(self, k: str, v: Any, ensure_uniqueness: bool = False) -> None:
        _append(self.model_options, k, v, ensure_uniqueness)

    def append_transformer_option(self, k: str, v: Any, ensure_uniqueness: bool = False) -> None:
        _append(self.model_options.setdefault("transformer_options", {}), k, v, ensure_uniqueness)

    def set_transformer_option(self, k: str, v: Any) -> None:
        self.model_options.setdefault("transformer_options", {})[k] = v

    def add_conditioning_modifier(self, modifier: Callable[..., Any], ensure_uniqueness: bool = False) -> None:
        """`modifier(model, x, timestep, uncond, cond, cond_scale, model_options, seed)` returns all eight, changed."""
        self.append_model_option("conditioning_modifiers", modifier, ensure_uniqueness)

    def add_sampler_pre_cfg_function(self, modifier: Callable[..., Any], ensure_uniqueness: bool = False) -> None:
        self.append_model_option("sampler_pre_cfg_function", modifier, ensure_uniqueness)

    def set_memory_peak_estimation_modifier(self, modifier: Callable[..., Any]) -> None:
        self.model_options["memory_peak_estimation_modifier"] = modifier

    def add_block_modifier(self, modifier: Callable[..., Any], ensure_uniqueness: bool = False) -> None:
        """`modifier(h, "before" or "after", transformer_options)` at each block of the U-Net."""
        self.append_transformer_option("block_modifiers", modifier, ensure_uniqueness)

    def set_group_norm_wrapper(self, wrapper: Callable[..., Any]) -> None:
        self.set_transformer_option("group_norm_wrapper", wrapper)

    def set_model_replace_all(self, patch: Any, target: str = "attn1") -> None:
        for block_name in ("input", "middle", "output"):
            for number in range(16):
                for transformer_index in range(16):
                    self.set_model_patch_replace(patch, target, block_name, number, transformer_index)


def _append(options: dict[str, Any], name: str, value: Any, once: bool) -> None:
    values = options.setdefault(name, [])
    if not (once and value in values):
        values.append(value)
