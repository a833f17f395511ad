"""Which models are on which device, and in which number types they are held.

It knows patchers, not models: one that nothing else refers to is forgotten without its model being moved, and one that
is loaded already is not looked at again, so changes to its LoRAs go unnoticed.
"""

from __future__ import annotations

import enum
import sys
from collections.abc import Sequence
from typing import Any

import torch

VRAMState = enum.Enum("VRAMState", "DISABLED NO_VRAM LOW_VRAM NORMAL_VRAM HIGH_VRAM", start=0)
ALWAYS_VRAM_OFFLOAD = False
cpu = torch.device("cpu")
current_inference_memory: float = 1 << 30
_REFERENCES_OF_AN_ABANDONED = 2  # the list's own entry, and the argument of getrefcount


def get_torch_device() -> torch.device:
    return torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else cpu


def is_device_cpu(device: torch.device | None) -> bool:
    return getattr(device, "type", None) == "cpu"


vram_state = VRAMState.DISABLED if is_device_cpu(get_torch_device()) else VRAMState.NORMAL_VRAM


def get_free_memory(dev: torch.device | None = None) -> float:
    """Bytes, what torch has reserved and nothing uses among them."""
    device = dev or get_torch_device()
    if is_device_cpu(device):
        import psutil

        return psutil.virtual_memory().available
    reserved = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return torch.cuda.mem_get_info(device)[0] + reserved


def dtype_size(dtype: torch.dtype) -> int:
    return dtype.itemsize


def get_computation_dtype(inference_device: torch.device) -> torch.dtype:
    return torch.float16 if inference_device.type == "cuda" else torch.float32


def text_encoder_dtype() -> torch.dtype:
    """Half precision wherever it runs: weights are stored so and cast at each call."""
    return torch.float16


def vae_dtype() -> torch.dtype:
    return torch.bfloat16 if get_torch_device().type == "cuda" else torch.float32


def supports_cast(device: torch.device | None, dtype: torch.dtype) -> bool:
    """Whether weights stored in a number type can be cast there; 8 bits cannot on Apple's."""
    return getattr(device, "type", None) != "mps" or dtype.itemsize > 1


def module_size(
    module: torch.nn.Module, exclude_device: torch.device | None = None, include_device: torch.device | None = None
) -> int:
    """Bytes of a module's parameters, of those on one device, or of those elsewhere."""
    counted = (x for x in module.parameters() if x.device != exclude_device and include_device in (None, x.device))
    return sum(x.nelement() * x.element_size() for x in counted)


class LoadedModel:
    """A patcher whose model is where it computes."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.device: torch.device = model.load_device

    def model_load(self) -> None:
        self.model.model_patches_to(self.device)
        self.model.forge_patch_model(self.device)
        self.model.refresh_loras()

    def model_unload(self, avoid_model_moving: bool = False) -> None:
        target = None if avoid_model_moving else self.model.offload_device
        self.model.forge_unpatch_model(target)
        if target is not None:
            self.model.model_patches_to(target)


current_loaded_models: list[LoadedModel] = []


def minimum_inference_memory() -> float:
    return current_inference_memory


def unload_model_clones(model: Any) -> None:
    """Forgets every patcher of the same model; the model stays where it is."""
    _forget([loaded for loaded in current_loaded_models if model.is_clone(loaded.model)])


def _forget(entries: list[LoadedModel]) -> None:
    for loaded in entries:
        current_loaded_models.remove(loaded)
        loaded.model_unload(avoid_model_moving=True)


def free_memory(memory_required: float, device: torch.device, keep_loaded: Sequence[LoadedModel] = ()) -> None:
    """Forgets the patchers that nothing refers to any more, and moves models away from a device, the one used longest
    ago first, until so many bytes are free there.
    """
    _forget([x for x in current_loaded_models if sys.getrefcount(x.model) <= _REFERENCES_OF_AN_ABANDONED])
    for loaded in current_loaded_models[::-1]:
        if get_free_memory(device) > memory_required:
            return
        if loaded.device == device and loaded not in keep_loaded:
            current_loaded_models.remove(loaded)
            loaded.model_unload()
            soft_empty_cache()


def load_models_gpu(models: Sequence[Any], memory_required: float = 0, hard_memory_preservation: float = 0) -> None:
    """Brings these patchers' models to where they compute, and their LoRAs into them; first in the list from now on."""
    kept = [loaded for loaded in current_loaded_models if any(loaded.model is patcher for patcher in models)]
    known = [loaded.model for loaded in kept]
    new = [LoadedModel(patcher) for patcher in models if patcher not in known]
    current_loaded_models.sort(key=lambda loaded: loaded not in kept)
    for loaded in new:
        unload_model_clones(loaded.model)
    for device in {loaded.device for loaded in kept + new}:
        if not is_device_cpu(device):
            arriving = (loaded.model.model for loaded in new if loaded.device == device)
            moving = sum(module_size(model, exclude_device=device) for model in arriving)
            room = max(minimum_inference_memory(), memory_required) + hard_memory_preservation
            free_memory(moving * 1.3 + room, device, kept)
    for loaded in new:
        loaded.model_load()
        current_loaded_models.insert(0, loaded)


def load_model_gpu(model: Any) -> None:
    load_models_gpu([model])


def soft_empty_cache() -> None:
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def unload_all_models() -> None:
    free_memory(float("inf"), get_torch_device())
