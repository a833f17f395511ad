"""Where the two U-Nets of a request live, decided and brought about by the host's own memory management.

What is said of the host was read in backend/memory_management.py (dfdcbab6).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from backend import memory_management, utils
from backend.patcher.unet import UnetPatcher
from modules import shared

from extension_core.errors import DiversityError
from extension_core.hosts.common.processing.size import largest_pass
from extension_core.weights import placement
from extension_core.weights.placement import Choice, Placed, Placement, Room

EIGHT_BITS = torch.float8_e4m3fn
# Devices whose free memory the host knows; for others it gives that of the RAM, or a constant.
_MEASURED = ("cuda", "xpu")
_ATTRIBUTE = "diversity_distillation_memory"


@dataclass
class Memory:
    """Where the models of one request live.

    Attributes:
        device: where the host computes, as torch names it.
    """

    choice: Choice
    device: str

    @property
    def placement(self) -> Placement:
        return self.choice.placement

    @property
    def can_make_room(self) -> bool:
        """Whether an idle model may be where the host computes and could be elsewhere."""
        return self.placement is not Placement.RAM and not in_ram()

    @property
    def placed(self) -> Placed:
        """In words, for the user; on a CPU there is but one place."""
        one_place = in_ram() and self.placement is Placement.RAM
        return placement.placed(Choice(Placement.BOTH, self.choice.why) if one_place else self.choice, self.device)

    def ran_out(self) -> str:
        """From now on the models take turns; the warning that says so."""
        self.choice = placement.ran_out(self.placement, self.device)
        return self.choice.warning


def begin(p: Any) -> None:
    """A new request: whatever was decided for this object before does not count."""
    vars(p).pop(_ATTRIBUTE, None)


def of_request(p: Any, residency: str, ran_out: bool) -> Memory:
    """What is decided for a request, once for all its batches.

    Args:
        ran_out: as in `decide`.

    Raises:
        DiversityError: the device cannot hold what is asked for.
    """
    known: Memory | None = vars(p).get(_ATTRIBUTE)
    if known is None:
        known = decide(p, residency, ran_out)
        setattr(p, _ATTRIBUTE, known)
    return known


def of_one_model() -> Memory:
    """For a request that needs no second model."""
    return Memory(Choice(Placement.BOTH), str(memory_management.get_torch_device()))


def decide(p: Any, residency: str, ran_out: bool) -> Memory:
    """Where the models are to live for a request of this size.

    Args:
        ran_out: memory has run out with both of these models there, so `auto` does not try again.

    Raises:
        DiversityError: 8 bits are asked for where the device does not know them.
    """
    device, unet = memory_management.get_torch_device(), shared.sd_model.forge_objects.unet
    if residency == "8bit" and unet.model.storage_dtype.itemsize == EIGHT_BITS.itemsize:
        return Memory(Choice(Placement.BOTH, "the checkpoint is stored in 8 bits already"), str(device))
    if residency == "8bit" and not memory_management.supports_cast(device, EIGHT_BITS):
        raise DiversityError(
            f"Memory is 8bit but the device '{device}' does not know the number type {EIGHT_BITS}; choose RAM."
        )
    if residency == "auto" and ran_out:
        return Memory(placement.not_again(str(device)), str(device))
    return Memory(placement.choose(residency, _room(device, unet, p)), str(device))


def _room(device: torch.device, unet: UnetPatcher, p: Any) -> Room:
    """Both U-Nets are counted as needed and as free: the host may have either there now, or none.

    It keeps `minimum_inference_memory` free of weights in any case, and streams from RAM what does not fit beside it.
    """
    number_size = memory_management.dtype_size(unet.model.computation_dtype)
    working = placement.working_bytes(*largest_pass(p), p.batch_size, number_size)
    states = memory_management.VRAMState
    return Room(
        device=str(device),
        free=free_bytes(device, unet),
        second=2 * int(memory_management.module_size(unet.model)),
        working=max(working, int(memory_management.minimum_inference_memory())),
        moved_by_host=memory_management.ALWAYS_VRAM_OFFLOAD
        or memory_management.vram_state in (states.LOW_VRAM, states.NO_VRAM),
    )


def free_bytes(device: torch.device, unet: UnetPatcher) -> int | None:
    """Bytes that are free on the device or that the host can free there: VAE, text encoders, ControlNets, U-Nets.

    The U-Net may be there without being on the host's list, which forgets patchers that nobody refers to.
    """
    if device.type not in _MEASURED:
        return None
    models = [unet.model, *(loaded.model.model for loaded in memory_management.current_loaded_models)]
    different = {id(model): model for model in models}.values()
    held = sum(memory_management.module_size(model, include_device=device) for model in different)
    return int(memory_management.get_free_memory(device) + held)


def in_ram() -> bool:
    """Whether the host computes in RAM, so that there is nowhere to move idle models to."""
    return memory_management.is_device_cpu(memory_management.get_torch_device())


def is_there(patcher: UnetPatcher) -> bool:
    """Whether any of a patcher's model is where it computes."""
    return memory_management.module_size(patcher.model, include_device=patcher.load_device) > 0


def to_ram(patcher: UnetPatcher) -> None:
    """Move a patcher's model to RAM, as `LoadedModel.model_unload` does.

    Merged networks stay merged and known to the host. Its list may have another patcher of the model, or none. With
    --always-high-vram its own offload device would be the accelerator.
    """
    memory_management.unload_model_clones(patcher)
    patcher.forge_unpatch_model(memory_management.cpu)
    patcher.model_patches_to(memory_management.cpu)


def bring(patcher: UnetPatcher, beside: Sequence[Any], preserved: float, latents: Sequence[int]) -> None:
    """Load a U-Net while the host samples, keeping what is loaded beside it.

    The room asked for is that of `sampling_prepare` (backend/sampling/sampling_function.py, dfdcbab6), which itself
    would begin the controls' run again.

    Args:
        beside: other extensions' patchers that are loaded together with the U-Net.
        preserved: bytes that other extensions want kept free.
        latents: their shape [B, C, H, W].
    """
    batch, *size = latents
    estimate = patcher.model_options.get("memory_peak_estimation_modifier", patcher.memory_required)
    together, control = [patcher, *beside], patcher.controlnet_linked_list
    if control is not None:
        preserved += control.inference_memory_requirements(patcher.model_dtype())
        together += control.get_models()
    if patcher.has_online_lora():
        number_size = utils.dtype_to_element_size(patcher.model.computation_dtype)
        preserved += utils.nested_compute_size(patcher.lora_patches, element_size=number_size)
    memory_management.load_models_gpu(
        together, memory_required=estimate([batch * 2, *size]), hard_memory_preservation=preserved
    )
