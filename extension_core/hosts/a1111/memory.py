"""What A1111 computes on, how much memory is free there, and where its model is being sent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from modules import devices, shared

from extension_core.errors import DiversityError
from extension_core.hosts.common.processing.size import largest_pass
from extension_core.weights import transfer
from extension_core.weights.naming import NamedParameter
from extension_core.weights.placement import Choice, Placed, Placement, Room, choose, placed, working_bytes


def copies() -> transfer.Copies:
    """The way between RAM and the device that the host computes on; always the same one, for copies come in order."""
    if _COPIES.get(devices.device) is None:
        _COPIES[devices.device] = transfer.copies_for(devices.device)
    return _COPIES[devices.device]


_COPIES: dict[torch.device, transfer.Copies] = {}


def in_ram() -> bool:
    """Whether the host computes in RAM, so that there is nowhere to move idle models to."""
    return not copies().serves(devices.device)


def check_8_bits() -> None:
    """Refuse a device that does not know the number type.

    Raises:
        DiversityError: says which device.
    """
    try:
        torch.zeros(1, device=devices.device).to(torch.float8_e4m3fn)
    except (RuntimeError, TypeError) as error:
        raise DiversityError(
            f"Memory is 8bit but the device '{devices.device}' does not know the number type {torch.float8_e4m3fn}; "
            "choose RAM."
        ) from error


def free_bytes() -> int | None:
    """What new tensors may take on the device; None where that is the RAM itself, or where torch cannot tell."""
    if devices.device.type != "cuda":
        return None
    free, _total = torch.cuda.mem_get_info(devices.device)
    kept = torch.cuda.memory_reserved(devices.device) - torch.cuda.memory_allocated(devices.device)
    return free + kept


def moved_by_host() -> bool:
    """Whether the host keeps its model in RAM and brings parts of it when they are called (medvram, lowvram)."""
    return bool(getattr(shared.sd_model, "lowvram", False))


def choice_for(p: Any, residency: str, second_bytes: int) -> Choice:
    """Where the models are to live while a request runs.

    Args:
        second_bytes: what the distilled model still needs on the device to be there beside the base.
    """
    room = Room(str(devices.device), free_bytes(), second_bytes, _working_bytes(p), moved_by_host())
    return choose(residency, room)


def placed_with(choice: Choice) -> Placed:
    """A choice in words; on a CPU there is but one place."""
    if in_ram() and choice.placement is Placement.RAM:
        choice = Choice(Placement.BOTH, choice.why)
    return placed(choice, str(devices.device))


def _working_bytes(p: Any) -> int:
    """For the larger of the request's passes, in the number type that the VAE computes in."""
    return working_bytes(*largest_pass(p), p.batch_size, devices.dtype_vae.itemsize)


def follow(model: Any, moved: Callable[[torch.device], None]) -> Callable[[], None]:
    """Have `moved` called with the new device when the host sends its model elsewhere; returns what ends it.

    The host does so where the user unloads the checkpoint, keeps several of them or drops one
    (modules/sd_models.py, 1.10.1), and tells nobody. Set on this model, never on its class.
    """
    original = model.to

    def to(*args: Any, **kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        moved(next(model.parameters()).device)
        return result

    def end() -> None:
        if model.__dict__.get("to") is to:
            del model.to

    model.to = to
    return end


def bytes_of(parameters: Sequence[NamedParameter]) -> int:
    """Bytes of live parameters."""
    return sum(named.tensor.nbytes for named in parameters)
