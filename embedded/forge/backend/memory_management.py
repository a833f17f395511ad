"""Which models are on which device, and in which number types they are held.

It knows patchers, not models: one that nothing else refers to is forgotten without its model being moved, and one that
is loaded already is not looked at again, so changes to its LoRAs go unnoticed.
"""

from __future__ import annotations

import enum
import sys
from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch

from backend.args import args


class VRAMState(enum.Enum):
    DISABLED = 0
    NO_VRAM = 1
    LOW_VRAM = 2
    NORMAL_VRAM = 3
    HIGH_VRAM = 4


cpu = torch.device("cpu")
PIN_SHARED_MEMORY = args.pin_shared_memory
ALWAYS_VRAM_OFFLOAD = args.always_offload_from_vram
current_inference_memory: float = 1 << 30
_REFERENCES_OF_AN_ABANDONED = 2  # the list's own entry, and the argument of getrefcount


def get_torch_device() -> torch.device:
    if args.always_cpu or not torch.cuda.is_available():
        return cpu
    return torch.device("cuda", torch.cuda.current_device())


def is_device_cpu(device: torch.device | None) -> bool:
    return getattr(device, "type", None) == "cpu"


def get_free_memory(dev: torch.device | None = None, torch_free_too: bool = False) -> Any:
    """Bytes; with `torch_free_too` also how many of them torch has reserved."""
    device = dev or get_torch_device()
    if is_device_cpu(device):
        import psutil

        free = reserved = psutil.virtual_memory().available
    else:
        reserved = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        free = torch.cuda.mem_get_info(device)[0] + reserved
    return (free, reserved) if torch_free_too else free


def _chosen_state() -> VRAMState:
    if is_device_cpu(get_torch_device()):
        return VRAMState.DISABLED
    if args.always_no_vram or args.always_low_vram:
        return VRAMState.NO_VRAM if args.always_no_vram else VRAMState.LOW_VRAM
    return VRAMState.HIGH_VRAM if args.always_high_vram or args.always_gpu else VRAMState.NORMAL_VRAM


vram_state = _chosen_state()


def dtype_size(dtype: torch.dtype) -> int:
    return dtype.itemsize


def get_computation_dtype(inference_device: torch.device) -> torch.dtype:
    return torch.float16 if inference_device.type == "cuda" and not args.all_in_fp32 else torch.float32


def unet_dtype() -> torch.dtype:
    """What a U-Net's weights are stored in where nothing else is asked for."""
    asked = args.unet_in_fp16 or args.all_in_fp16
    return torch.float16 if asked else get_computation_dtype(get_torch_device())


def unet_offload_device() -> torch.device:
    return get_torch_device() if vram_state is VRAMState.HIGH_VRAM else cpu


def text_encoder_offload_device() -> torch.device:
    return get_torch_device() if args.always_gpu else cpu


def text_encoder_device() -> torch.device:
    return get_torch_device() if args.always_gpu or not args.all_in_fp32 else cpu


def text_encoder_dtype(device: torch.device | None = None) -> torch.dtype:
    """Half precision wherever it runs: weights are stored so and cast at each call."""
    del device
    return torch.float32 if args.clip_in_fp32 else torch.float16


def vae_device() -> torch.device:
    return get_torch_device()


vae_offload_device = intermediate_device = text_encoder_offload_device


def vae_dtype(device: torch.device | None = None) -> torch.dtype:
    if args.vae_in_fp16:
        return torch.float16
    on_gpu = (device or vae_device()).type == "cuda"
    return torch.bfloat16 if on_gpu and not args.vae_in_fp32 else torch.float32


def supports_cast(device: torch.device | None, dtype: torch.dtype) -> bool:
    """Whether weights stored in a number type can be cast there; 8 bits cannot on Apple's."""
    return getattr(device, "type", None) != "mps" or dtype.itemsize > 1


def state_dict_dtype(state_dict: dict[str, torch.Tensor]) -> torch.dtype:
    """The number type of most tensors."""
    return Counter(tensor.dtype for tensor in state_dict.values()).most_common(1)[0][0]


def module_size(
    module: torch.nn.Module, exclude_device: torch.device | None = None, include_device: torch.device | None = None
) -> int:
    """Bytes of a module's parameters, of those on one device, or of those elsewhere."""
    counted = 0
    for parameter in module.parameters():
        if parameter.device != exclude_device and include_device in (None, parameter.device):
            counted += parameter.nelement() * parameter.element_size()
    return counted


class LoadedModel:
    """A patcher whose model is where it computes. Two are equal where they hold the same patcher."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.device: torch.device = model.load_device

    def memory_to_move(self) -> float:
        network = self.model.model
        elsewhere = module_size(network, exclude_device=self.device)
        return elsewhere + 0.25 * module_size(network, include_device=self.device)

    def model_load(self) -> None:
        patcher = self.model
        patcher.model_patches_to(self.device)
        try:
            patcher.forge_patch_model(self.device)
        except Exception:
            self.model_unload()
            raise
        patcher.refresh_loras()

    def model_unload(self, avoid_model_moving: bool = False) -> None:
        patcher = self.model
        patcher.forge_unpatch_model(None if avoid_model_moving else patcher.offload_device)
        if not avoid_model_moving:
            patcher.model_patches_to(patcher.offload_device)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LoadedModel) and other.model is self.model

    __hash__ = None  # type: ignore[assignment]


current_loaded_models: list[LoadedModel] = []


def minimum_inference_memory() -> float:
    return current_inference_memory


def unload_model_clones(model: Any) -> None:
    """Forgets every patcher of the same model; the model stays where it is."""
    for loaded in [loaded for loaded in current_loaded_models if model.is_clone(loaded.model)]:
        current_loaded_models.remove(loaded)
        loaded.model_unload(avoid_model_moving=True)


def cleanup_models() -> None:
    """Forgets the patchers that nothing refers to any more."""
    abandoned = [x for x in current_loaded_models if sys.getrefcount(x.model) <= _REFERENCES_OF_AN_ABANDONED]
    for loaded in abandoned:
        loaded.model_unload(avoid_model_moving=True)
        current_loaded_models.remove(loaded)


def free_memory(memory_required: float, device: torch.device, keep_loaded: Sequence[LoadedModel] = ()) -> None:
    """Moves models away from a device, the one used longest ago first, until so many bytes are free there."""
    cleanup_models()
    everything = ALWAYS_VRAM_OFFLOAD or vram_state is VRAMState.NO_VRAM
    for loaded in current_loaded_models[::-1]:
        if not everything and get_free_memory(device) > memory_required:
            return
        if loaded.device == device and loaded not in keep_loaded:
            current_loaded_models.remove(loaded)
            loaded.model_unload()
            soft_empty_cache()


def load_models_gpu(models: Sequence[Any], memory_required: float = 0, hard_memory_preservation: float = 0) -> None:
    """Brings these patchers' models to where they compute, and their LoRAs into them; first in the list from now on."""
    room = max(minimum_inference_memory(), memory_required) + hard_memory_preservation
    kept: list[LoadedModel] = []
    new: list[LoadedModel] = []
    for loaded in map(LoadedModel, models):
        (kept if loaded in current_loaded_models else new).append(loaded)
    for loaded in kept:
        current_loaded_models.remove(loaded)
        current_loaded_models.insert(0, loaded)
    for loaded in new:
        unload_model_clones(loaded.model)
    for device in {loaded.device for loaded in kept + new}:
        if not is_device_cpu(device):
            moving = sum(loaded.memory_to_move() for loaded in new if loaded.device == device)
            free_memory(moving * 1.3 + room, device, kept)
    for loaded in new:
        loaded.model_load()
        current_loaded_models.insert(0, loaded)


def load_model_gpu(model: Any) -> None:
    load_models_gpu([model])


def soft_empty_cache(force: bool = False) -> None:
    del force
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def unload_all_models() -> None:
    free_memory(float("inf"), get_torch_device())
