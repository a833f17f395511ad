"""Which models are on which device, and in which number types they are held.

It knows patchers, not models: one that nothing else refers to is forgotten without its model being moved, and one that
is loaded already is not looked at again, so changes to its LoRAs go unnoticed.
"""

from __future__ import annotations

import enum
import sys
from collections.abc import Iterable, Sequence
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
OOM_EXCEPTION: type[BaseException] = torch.cuda.OutOfMemoryError
PIN_SHARED_MEMORY = args.pin_shared_memory
ALWAYS_VRAM_OFFLOAD = args.always_offload_from_vram
VAE_ALWAYS_TILED = False
signal_empty_cache = False
current_inference_memory: float = 1024 * 1024 * 1024
_MIB = 1024 * 1024
_UNBOUNDED = 1e30
_REFERENCES_OF_AN_ABANDONED = 2  # the list's own entry, and the argument of getrefcount


def get_torch_device() -> torch.device:
    on_gpu = torch.cuda.is_available() and not args.always_cpu
    return torch.device("cuda", torch.cuda.current_device()) if on_gpu else cpu


def is_device_cpu(device: torch.device | None) -> bool:
    return device is not None and device.type == "cpu"


def get_free_memory(dev: torch.device | None = None, torch_free_too: bool = False) -> Any:
    """Bytes; with `torch_free_too` also how many of them torch has reserved."""
    device = dev or get_torch_device()
    if device.type == "cuda":
        stats = torch.cuda.memory_stats(device)
        reserved = stats["reserved_bytes.all.current"] - stats["active_bytes.all.current"]
        total = torch.cuda.mem_get_info(device)[0] + reserved
    else:
        import psutil

        total = reserved = psutil.virtual_memory().available
    return (total, reserved) if torch_free_too else total


def get_total_memory(dev: torch.device | None = None) -> int:
    device = dev or get_torch_device()
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[1]
    import psutil

    return psutil.virtual_memory().total


def _initial_vram_state() -> VRAMState:
    wished = {
        VRAMState.NO_VRAM: args.always_no_vram,
        VRAMState.LOW_VRAM: args.always_low_vram,
        VRAMState.HIGH_VRAM: args.always_high_vram or args.always_gpu,
        VRAMState.DISABLED: is_device_cpu(get_torch_device()),
    }
    return next((state for state, is_wished in wished.items() if is_wished), VRAMState.NORMAL_VRAM)


vram_state = _initial_vram_state()
total_vram = get_total_memory() / _MIB


def dtype_size(dtype: torch.dtype) -> int:
    return dtype.itemsize


def should_use_fp16(device: torch.device | None = None, **_conditions: Any) -> bool:
    return not args.all_in_fp32 and (device or get_torch_device()).type == "cuda"


def unet_dtype(
    device: torch.device | None = None, model_params: int = 0, supported_dtypes: Sequence[torch.dtype] = ()
) -> torch.dtype:
    """What a U-Net's weights are stored in where nothing else is asked for."""
    del model_params, supported_dtypes
    wished = {
        torch.bfloat16: args.unet_in_bf16,
        torch.float16: args.unet_in_fp16 or args.all_in_fp16,
        torch.float8_e4m3fn: args.unet_in_fp8_e4m3fn,
        torch.float8_e5m2: args.unet_in_fp8_e5m2,
    }
    named = next((dtype for dtype, is_wished in wished.items() if is_wished), None)
    return named or (torch.float16 if should_use_fp16(device) else torch.float32)


def get_computation_dtype(
    inference_device: torch.device, parameters: int = 0, supported_dtypes: Sequence[torch.dtype] = ()
) -> torch.dtype:
    del parameters, supported_dtypes
    return torch.float16 if should_use_fp16(inference_device) else torch.float32


def unet_offload_device() -> torch.device:
    return get_torch_device() if vram_state == VRAMState.HIGH_VRAM else cpu


def unet_inital_load_device(parameters: int, dtype: torch.dtype) -> torch.device:
    del parameters, dtype
    return unet_offload_device()


def text_encoder_offload_device() -> torch.device:
    return get_torch_device() if args.always_gpu else cpu


def text_encoder_device() -> torch.device:
    return get_torch_device() if args.always_gpu or should_use_fp16() else cpu


def text_encoder_dtype(device: torch.device | None = None) -> torch.dtype:
    """Half precision wherever it runs: weights are stored so and cast at each call."""
    del device
    return torch.float32 if args.clip_in_fp32 else torch.float16


def vae_device() -> torch.device:
    return cpu if args.vae_in_cpu else get_torch_device()


def vae_offload_device() -> torch.device:
    return get_torch_device() if args.always_gpu else cpu


def vae_dtype(device: torch.device | None = None, allowed_dtypes: Sequence[torch.dtype] = ()) -> torch.dtype:
    del allowed_dtypes
    if args.vae_in_fp16:
        return torch.float16
    half = not args.vae_in_fp32 and (args.vae_in_bf16 or not is_device_cpu(device or vae_device()))
    return torch.bfloat16 if half else torch.float32


def intermediate_device() -> torch.device:
    return get_torch_device() if args.always_gpu else cpu


def supports_cast(device: torch.device | None, dtype: torch.dtype) -> bool:
    """Whether weights stored in a number type can be cast there; 8 bits cannot on Apple's."""
    on_apple = device is not None and device.type == "mps"
    return not on_apple or dtype in (torch.float32, torch.float16)


def cast_to_device(tensor: torch.Tensor, device: torch.device, dtype: torch.dtype, copy: bool = False) -> torch.Tensor:
    return tensor.to(device=device, dtype=dtype, copy=copy)


def state_dict_parameters(sd: dict[str, torch.Tensor]) -> int:
    return sum(tensor.nelement() for tensor in sd.values())


def state_dict_dtype(state_dict: dict[str, torch.Tensor]) -> torch.dtype:
    """The number type of most tensors."""
    counts: dict[torch.dtype, int] = {}
    for tensor in state_dict.values():
        counts[tensor.dtype] = counts.get(tensor.dtype, 0) + 1
    return max(counts, key=lambda dtype: counts[dtype])


def module_size(
    module: torch.nn.Module, exclude_device: torch.device | None = None, include_device: torch.device | None = None
) -> int:
    """Bytes of a module's parameters, of those on one device, or of those elsewhere."""
    tensors: Iterable[torch.Tensor] = module.parameters()
    return sum(
        x.nelement() * x.element_size()
        for x in tensors
        if x.device != exclude_device and include_device in (None, x.device)
    )


class LoadedModel:
    """A patcher whose model is where it computes. Two are equal where they hold the same patcher."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.device: torch.device = model.load_device
        self.real_model: Any = None

    def memory_to_move(self) -> float:
        module = self.model.model
        there = module_size(module, include_device=self.device)
        return module_size(module, exclude_device=self.device) + 0.25 * there

    def model_load(self) -> Any:
        patcher = self.model
        for target in (self.device, patcher.model_dtype()):
            patcher.model_patches_to(target)
        try:
            self.real_model = patcher.forge_patch_model(self.device)
        except Exception:
            self.model_unload()
            raise
        patcher.current_device = patcher.load_device
        patcher.refresh_loras()
        return self.real_model

    def model_unload(self, avoid_model_moving: bool = False) -> None:
        if avoid_model_moving:
            self.model.forge_unpatch_model()
            return
        self.model.forge_unpatch_model(self.model.offload_device)
        self.model.model_patches_to(self.model.offload_device)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LoadedModel) and self.model is other.model

    __hash__ = None  # type: ignore[assignment]


current_loaded_models: list[LoadedModel] = []


def minimum_inference_memory() -> float:
    return current_inference_memory


def unload_model_clones(model: Any) -> None:
    """Forgets every patcher of the same model; the model stays where it is."""
    for index in reversed(range(len(current_loaded_models))):
        if model.is_clone(current_loaded_models[index].model):
            current_loaded_models.pop(index).model_unload(avoid_model_moving=True)


def _forget_abandoned() -> None:
    for index in reversed(range(len(current_loaded_models))):
        if sys.getrefcount(current_loaded_models[index].model) <= _REFERENCES_OF_AN_ABANDONED:
            current_loaded_models.pop(index).model_unload(avoid_model_moving=True)


def free_memory(
    memory_required: float, device: torch.device, keep_loaded: Sequence[LoadedModel] = (), free_all: bool = False
) -> None:
    """Moves models away from a device, the one used longest ago first, until so many bytes are free there."""
    _forget_abandoned()
    wanted = _UNBOUNDED if free_all else memory_required
    everything, moved = ALWAYS_VRAM_OFFLOAD or vram_state == VRAMState.NO_VRAM, False
    for index in reversed(range(len(current_loaded_models))):
        if not everything and get_free_memory(device) > wanted:
            break
        loaded = current_loaded_models[index]
        if loaded.device == device and loaded not in keep_loaded:
            current_loaded_models.pop(index).model_unload()
            moved = True
    if moved:
        soft_empty_cache()


def load_models_gpu(models: Sequence[Any], memory_required: float = 0, hard_memory_preservation: float = 0) -> None:
    """Brings these patchers' models to where they compute, and their LoRAs into them; first in the list from now on."""
    needed = max(minimum_inference_memory(), memory_required) + hard_memory_preservation
    asked = [LoadedModel(patcher) for patcher in models]
    kept = [loaded for loaded in asked if loaded in current_loaded_models]
    new = [loaded for loaded in asked if loaded not in current_loaded_models]
    for loaded in kept:
        index = current_loaded_models.index(loaded)
        current_loaded_models.insert(0, current_loaded_models.pop(index))
    for loaded in new:
        unload_model_clones(loaded.model)
    to_move: dict[torch.device, float] = {loaded.device: 0.0 for loaded in asked}
    for loaded in new:
        to_move[loaded.device] += loaded.memory_to_move()
    for device, size in to_move.items():
        if not is_device_cpu(device):
            free_memory(size * 1.3 + needed, device, kept)
    for loaded in new:
        loaded.model_load()
        current_loaded_models.insert(0, loaded)


def load_model_gpu(model: Any) -> None:
    load_models_gpu([model])


def cleanup_models() -> None:
    _forget_abandoned()


def soft_empty_cache(force: bool = False) -> None:
    global signal_empty_cache
    del force
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.ipc_collect()
    signal_empty_cache = False


def unload_all_models() -> None:
    free_memory(_UNBOUNDED, get_torch_device(), free_all=True)
