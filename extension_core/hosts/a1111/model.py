"""The parameters of the host's live model, and what they become with a distilled model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from modules import devices, script_callbacks, sd_models, sd_unet, shared

from extension_core.errors import DiversityError, NotEnoughMemory
from extension_core.hosts.a1111 import distilled_lora as merging
from extension_core.hosts.a1111 import kinds, memory, prompt_loras
from extension_core.hosts.common.files import base_file
from extension_core.weights.live_model import LiveModel
from extension_core.weights.lora_file import is_lora, read_lora
from extension_core.weights.naming import UNET_PREFIX, NamedParameter, named_parameters
from extension_core.weights.placement import Choice, Placed, Placement, not_again, ran_out
from extension_core.weights.residency import Residency
from extension_core.weights.second_model import SecondModel, load_second_model
from extension_core.weights.selection import Selection
from extension_core.weights.transfer import Copies

# Process-wide on purpose: the second model stays between images, as the host's own model does.
RESIDENCY: Residency[SecondModel] = Residency()


def watch_model_changes() -> None:
    """Let the second model go when the host loads another checkpoint, and know the host's calls of layers when it sees
    others. Call on every execution of the script.
    """
    base_file.watch_model_changes()
    script_callbacks.on_model_loaded(lambda _model: RESIDENCY.drop())
    script_callbacks.on_app_started(lambda _demo, _app: prompt_loras.remember_calls())


def check_host_model() -> None:
    """Refuse what the exchange of parameters cannot serve.

    Raises:
        DiversityError: the loaded model has no torch U-Net of the SD 1.x, 2.x or SDXL kind, or noise levels of its own.
    """
    unet = getattr(getattr(shared.sd_model, "model", None), "diffusion_model", None)
    if unet is None or not hasattr(unet, "input_blocks"):
        raise DiversityError(
            f"Diversity Distillation works with SD 1.x, SD 2.x and SDXL but the loaded checkpoint "
            f"'{shared.sd_model.sd_checkpoint_info.name}' is of another kind; load one of those."
        )
    if sd_unet.current_unet is not None:
        raise DiversityError(
            f"Diversity Distillation needs the host's own U-Net but the option SD Unet has put "
            f"'{sd_unet.current_unet_option.label}' in its place; set SD Unet to None."
        )
    kinds.check_kind(shared.sd_model)
    base_file.check_levels()


def unet_parameters() -> list[NamedParameter]:
    """Parameters of the live U-Net under their names in files."""
    return list(named_parameters(shared.sd_model.model.diffusion_model, UNET_PREFIX))


def text_parameters() -> list[NamedParameter]:
    """Parameters of the live text encoder(s) under their names in files."""
    prefix = "conditioner" if hasattr(shared.sd_model, "conditioner") else "cond_stage_model"
    return list(named_parameters(getattr(shared.sd_model, prefix), prefix + "."))


def live_model() -> LiveModel:
    """The live model as files are compared with it."""
    return LiveModel(_shapes(unet_parameters()), _prediction(), lambda: _shapes(text_parameters()))


def second_model(selection: Selection, p: Any, residency: str) -> tuple[SecondModel, Choice]:
    """The resident second model, loaded if it is not resident yet, and where it was placed.

    Raises:
        DiversityError: the file cannot be read or memory does not suffice; nothing is changed.
    """
    key, load = _loading(selection)
    choice = _choice(p, residency, key, selection.own_text_encoder)
    if choice.placement is Placement.EIGHT_BIT:
        memory.check_8_bits()
    try:
        return _placed(key, load, choice, selection.makes_base), choice
    except NotEnoughMemory:
        if choice.placement is Placement.RAM or memory.in_ram():
            raise
    devices.torch_gc()
    choice = ran_out(choice.placement, str(devices.device))
    second = _placed(key, load, choice, selection.makes_base)
    second.ran_out = True
    return second, choice


def _loading(selection: Selection) -> tuple[tuple[Any, ...], Callable[[Copies | None], SecondModel]]:
    """(what the values of the model depend on, its load: in RAM if given a way to copy)."""
    base = shared.sd_model.sd_checkpoint_info
    unet = unet_parameters()
    lora = read_lora(selection.header, [named.name for named in unet]) if is_lora(selection.header.shapes) else None
    key = (
        *selection.key(lora is not None),
        repr(lora.stated) if lora is not None else None,  # in part from a file beside it
        # What is loaded, whatever has become of its file since: the host goes on with it too.
        *(id(shared.sd_model), base.filename),
        *(unet[0].tensor.dtype, shared.opts.cache_fp16_weight),
    )
    text = text_parameters() if selection.own_text_encoder else []
    if lora is None:
        return key, lambda copies: load_second_model(selection.header, unet, text, selection.style, copies)
    return key, lambda copies: merging.load_lora(lora, selection.lora_strength, unet, text, copies)


def _choice(p: Any, residency: str, key: tuple[Any, ...], own_text_encoder: bool) -> Choice:
    resident = RESIDENCY.resident(key)
    if resident is None:
        text = text_parameters() if own_text_encoder else []
        return memory.choice_for(p, residency, memory.bytes_of([*unet_parameters(), *text]))
    if resident.ran_out and residency == "auto":
        return not_again(str(devices.device))
    return memory.choice_for(p, residency, resident.bytes_missing_on(devices.device))


def _placed(
    key: tuple[Any, ...], load: Callable[[Copies | None], SecondModel], choice: Choice, makes_base: bool
) -> SecondModel:
    copies = None if choice.placement is Placement.BOTH else memory.copies()

    def loaded() -> SecondModel:
        second = load(copies)
        second.closing.callback(memory.follow(shared.sd_model, lambda device: _moved(second, device)))
        return second

    second = RESIDENCY.get(key, loaded)
    second.place(choice.placement, memory.copies(), unet_parameters(), prompt_loras.bring_to_wanted, makes_base)
    return second


def _moved(second: SecondModel, device: torch.device) -> None:
    """The host has sent its model elsewhere: the second one goes with it, and ends where the host's does."""
    if device.type == "meta":
        RESIDENCY.drop()
    elif device.type == "cpu":
        second.place(Placement.RAM, memory.copies())


def make_room(second: SecondModel, placement: Placement) -> Choice | None:
    """Have the idle values wait in RAM, for memory ran out; None if they do already."""
    if placement is Placement.RAM or memory.in_ram():
        return None
    second.ran_out = True
    second.place(Placement.RAM, memory.copies())
    devices.torch_gc()
    return ran_out(placement, str(devices.device))


def expected_placement(path: Path | None, p: Any, residency: str) -> Placed:
    """Where the models would live if a request ran now."""
    resident = RESIDENCY.model
    if path is None or sd_models.model_data.sd_model is None:
        return memory.placed_with(Choice(Placement.BOTH))
    if resident is not None and resident.ran_out and residency == "auto":
        return memory.placed_with(not_again(str(devices.device)))
    missing = memory.bytes_of(unet_parameters()) if resident is None else resident.bytes_missing_on(devices.device)
    return memory.placed_with(memory.choice_for(p, residency, missing))


def _prediction() -> str:
    return getattr(shared.sd_model, "parameterization", "eps")


def _shapes(parameters: list[NamedParameter]) -> dict[str, tuple[int, ...]]:
    return {named.name: tuple(named.tensor.shape) for named in parameters}
