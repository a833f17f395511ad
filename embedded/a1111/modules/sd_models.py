"""The loaded model: made from a file, refilled in place from another, kept or dropped by the limit on resident
checkpoints.

The traps are the host's: the old model is unhooked before the new file is read, so a file that cannot be read leaves it
unhooked; a model of another configuration goes the slow way over `load_model`, whose empty prompt activates an empty
set of networks; every reload undoes tiling.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import torch

from modules import devices, errors, extra_networks, lowvram, script_callbacks, sd_ldm, sd_models_config, shared
from modules.sd_checkpoints import (  # noqa: F401
    CheckpointInfo,
    checkpoint_aliases,
    checkpoint_tiles,
    checkpoints_list,
    get_closet_checkpoint_match,
    list_models,
    model_path,
    read_state_dict,
    select_checkpoint,
)
from modules.sd_hijack import model_hijack
from modules.shared import opts
from modules.timer import Timer

_selecting = True


@contextlib.contextmanager
def SkipWritingToConfig() -> Iterator[None]:
    """While entered, loading a checkpoint does not make it the selected one."""
    global _selecting
    before, _selecting = _selecting, False
    try:
        yield
    finally:
        _selecting = before


class SdModelData:
    """The current model and all resident ones, latest first. Asking for the model loads the selected checkpoint,
    once.
    """

    def __init__(self) -> None:
        self.sd_model: Any = None
        self.loaded_sd_models: list[Any] = []
        self.was_loaded_at_least_once = False
        self.lock = threading.Lock()

    def get_sd_model(self) -> Any:
        if self.sd_model is None and not self.was_loaded_at_least_once:
            with self.lock:
                try:
                    if not self.was_loaded_at_least_once:  # by another thread meanwhile
                        load_model()
                except Exception as fault:  # the page must come up all the same
                    errors.display(fault, "loading the selected checkpoint")
                    self.sd_model = None
        return self.sd_model

    def set_sd_model(self, v: Any) -> None:
        self.sd_model = v
        others = [model for model in self.loaded_sd_models if model is not v]
        self.loaded_sd_models = others if v is None else [v, *others]


model_data = SdModelData()


def rescale_zero_terminal_snr_abar(alphas_cumprod: torch.Tensor) -> torch.Tensor:
    """Moves a schedule so that the last step holds no signal (Lin et al. 2023, "Common diffusion noise schedules ...
    are flawed").
    """
    root = alphas_cumprod.sqrt()
    first, last = root[0].clone(), root[-1].clone()
    moved = ((root - last) * (first / (first - last))) ** 2
    moved[-1] = 4.8973451890853435e-08
    return moved


def apply_alpha_schedule_override(sd_model: Any, p: Any = None) -> None:
    """The schedule that the settings want, from the file's own; noted on `p` where it differs."""
    schedule, notes = sd_model.alphas_cumprod_original.to(shared.device), {}
    if opts.use_downcasted_alpha_bar:
        notes["Downcast alphas_cumprod"], schedule = True, schedule.half()
    if opts.sd_noise_schedule == "Zero Terminal SNR":
        notes["Noise Schedule"], schedule = opts.sd_noise_schedule, rescale_zero_terminal_snr_abar(schedule)
    sd_model.alphas_cumprod = schedule
    if p is not None:
        p.extra_generation_params.update(notes)


def load_model_weights(
    model: Any, checkpoint_info: CheckpointInfo, state_dict: dict[str, torch.Tensor], timer: Timer
) -> set[str]:
    """Fills `model`; keys that the file lacks keep what they held. Returns them."""
    missing = model.load_state_dict(state_dict, strict=False).missing_keys
    for part in (model.model, model.cond_stage_model):
        part.to(devices.dtype)
    model.first_stage_model.to(devices.dtype_vae)
    model.alphas_cumprod_original = model.alphas_cumprod
    apply_alpha_schedule_override(model)
    model.sd_checkpoint_info, model.sd_model_checkpoint = checkpoint_info, checkpoint_info.filename
    model.sd_model_hash = checkpoint_info.calculate_shorthash()
    _select(checkpoint_info)
    timer.record("apply weights to model")
    return set(missing)


def _select(info: CheckpointInfo) -> None:
    """Makes this file the one that the settings name, unless a passing change (Refiner, hires) is under way."""
    if _selecting:
        opts.data["sd_model_checkpoint"] = info.title
    opts.data["sd_checkpoint_hash"] = info.sha256


def _tensors_of(info: CheckpointInfo) -> dict[str, torch.Tensor]:
    print(f"Reading {info.filename} [{info.calculate_shorthash()}]")
    return read_state_dict(info.filename)


def send_model_to_cpu(m: Any) -> None:
    m.to(devices.cpu)
    devices.torch_gc()


def send_model_to_device(m: Any) -> None:
    lowvram.apply(m)
    m.to(shared.device)


def unload_model_weights(sd_model: Any = None, info: Any = None) -> None:
    send_model_to_cpu(sd_model or shared.sd_model)


def _drop(model: Any) -> None:
    model_data.loaded_sd_models = [resident for resident in model_data.loaded_sd_models if resident is not model]
    model.to(device="meta")
    devices.torch_gc()


def load_model(
    checkpoint_info: CheckpointInfo | None = None, already_loaded_state_dict: dict[str, torch.Tensor] | None = None
) -> Any:
    """Drops the current model, then builds one from the checkpoint's yaml and fills it."""
    info, timer = checkpoint_info or select_checkpoint(), Timer()
    if model_data.sd_model is not None:
        _drop(model_data.sd_model)
        model_data.sd_model = None
    tensors = already_loaded_state_dict or _tensors_of(info)
    model: Any = sd_ldm.LatentDiffusion(sd_models_config.find_checkpoint_config(tensors, info))
    missing = load_model_weights(model, info, tensors, timer)
    for name, parameter in model.named_parameters():
        if name in missing and (parameter.ndim > 1 or name.endswith("bias")):  # not initialised; zeros on the host too
            torch.nn.init.zeros_(parameter)
    send_model_to_device(model)
    model_hijack.hijack(model.eval())
    model_data.set_sd_model(model)
    model_data.was_loaded_at_least_once = True
    script_callbacks.model_loaded_callback(model)
    with devices.autocast(), torch.no_grad():
        from modules import processing

        extra_networks.activate(processing.StableDiffusionProcessingTxt2Img(), {})
        model.cond_stage_model_empty_prompt = model.get_learned_conditioning([""])
    print(f"{info.title} loaded in {timer.summary()}.")
    return model


def reload_model_weights(sd_model: Any = None, info: CheckpointInfo | None = None, forced_reload: bool = False) -> Any:
    """Makes `info`, or the selected checkpoint, the current model. Raises what reading the file raises."""
    wanted, current, limit = info or select_checkpoint(), sd_model or model_data.sd_model, opts.sd_checkpoints_limit
    if current is not None and current.sd_model_checkpoint == wanted.filename and not forced_reload:
        return current
    if current is not None:
        send_model_to_cpu(current)
    residents = model_data.loaded_sd_models
    model = next((resident for resident in residents if resident.sd_model_checkpoint == wanted.filename), None)
    if model is not None and not forced_reload:
        send_model_to_device(model)
        model_data.set_sd_model(model)
        _select(wanted)
        return model
    if model is None:
        for surplus in residents[limit:]:
            _drop(surplus)
        if len(residents) < limit:
            model_data.sd_model = None
            return load_model(wanted)
        model = residents[limit - 1]
    return _refill(model, wanted)


def _refill(model: Any, wanted: CheckpointInfo) -> Any:
    """Another file's weights in a resident model; the model's own again where they cannot be put in."""
    model_data.sd_model, before = model, model.sd_checkpoint_info
    send_model_to_cpu(model)
    model_hijack.undo_hijack(model)
    tensors = _tensors_of(wanted)  # a file that cannot be read leaves the model unhooked
    if sd_models_config.find_checkpoint_config(tensors, wanted) != model.used_config:
        return load_model(wanted, already_loaded_state_dict=tensors)
    try:
        load_model_weights(model, wanted, tensors, Timer())
    except Exception:
        load_model_weights(model, before, _tensors_of(before), Timer())
        raise
    finally:
        model_hijack.hijack(model)
        send_model_to_device(model)
        script_callbacks.model_loaded_callback(model)
    model_data.set_sd_model(model)
    return model
