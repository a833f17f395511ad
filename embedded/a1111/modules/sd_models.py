"""The loaded model: made from a file, refilled in place from another, kept or dropped by the limit on resident
checkpoints.

The traps are the host's: the old model is unhooked before the new file is read, so a file that cannot be read leaves it
unhooked; a model of another configuration goes the slow way over `load_model`, whose empty prompt activates an empty
set of networks; every reload undoes tiling.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from typing import Any

import torch

from modules import devices, errors, extra_networks, lowvram, script_callbacks, sd_ldm, sd_models_config, shared
from modules.sd_checkpoints import (
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


def setup_model() -> None:
    os.makedirs(model_path, exist_ok=True)


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
        if self.sd_model is not None or self.was_loaded_at_least_once:
            return self.sd_model
        with self.lock:
            if self.sd_model is None and not self.was_loaded_at_least_once:  # no other thread has loaded it meanwhile
                try:
                    load_model()
                except Exception as fault:  # the page must come up all the same
                    errors.display(fault, "loading the selected checkpoint", full_traceback=True)
                    self.sd_model = None
        return self.sd_model

    def set_sd_model(self, v: Any, already_loaded: bool = False) -> None:
        del already_loaded
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


def _set_number_types(model: Any) -> None:
    """Half precision for all but the noise schedule, and the VAE where that is to be kept full."""
    half = not shared.cmd_opts.no_half
    schedule, vae = model.alphas_cumprod, model.first_stage_model
    for part in (model.model, model.cond_stage_model):
        part.half() if half else part.float()
    vae.to(devices.dtype_vae)
    model.alphas_cumprod_original = schedule
    devices.dtype_unet = torch.float16 if half else torch.float32
    devices.unet_needs_upcast = bool(half and shared.cmd_opts.upcast_sampling)


def load_model_weights(
    model: Any, checkpoint_info: CheckpointInfo, state_dict: dict[str, torch.Tensor] | None, timer: Timer
) -> Any:
    """Fills `model` from a file; keys that the file lacks keep what they held. Returns load_state_dict's answer."""
    tensors = _tensors_of(checkpoint_info, timer) if state_dict is None else state_dict
    answer = model.load_state_dict(tensors, strict=False)
    _set_number_types(model)
    apply_alpha_schedule_override(model)
    model.sd_checkpoint_info, model.sd_model_checkpoint = checkpoint_info, checkpoint_info.filename
    model.sd_model_hash = checkpoint_info.calculate_shorthash()
    _select(checkpoint_info)
    timer.record("apply weights to model")
    return answer


def _select(info: CheckpointInfo) -> None:
    """Makes this file the one that the settings name, unless a passing change (Refiner, hires) is under way."""
    if _selecting:
        opts.data["sd_model_checkpoint"] = info.title
    opts.data["sd_checkpoint_hash"] = info.sha256


def _tensors_of(info: CheckpointInfo, timer: Timer) -> dict[str, torch.Tensor]:
    info.calculate_shorthash()
    print(f"Reading {info.filename} [{info.shorthash}]")
    tensors = read_state_dict(info.filename)
    timer.record("read file")
    return tensors


def get_empty_cond(sd_model: Any) -> Any:
    from modules import processing

    extra_networks.activate(processing.StableDiffusionProcessingTxt2Img(), {})
    return sd_model.get_learned_conditioning([""])


def send_model_to_cpu(m: Any) -> None:
    m.to(devices.cpu)
    devices.torch_gc()


def send_model_to_device(m: Any) -> None:
    lowvram.apply(m)
    m.to(shared.device)


def unload_model_weights(sd_model: Any = None, info: Any = None) -> None:
    del info
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
    tensors = already_loaded_state_dict or _tensors_of(info, timer)
    model: Any = sd_ldm.LatentDiffusion(sd_models_config.find_checkpoint_config(tensors, info))
    missing = set(load_model_weights(model, info, tensors, timer).missing_keys)
    for name, layer in model.named_modules():
        if isinstance(layer, (torch.nn.Linear, torch.nn.Conv2d, torch.nn.Embedding)):
            for key, parameter in layer.named_parameters(name, recurse=False):
                if key in missing:  # not initialised; zeros on the host too
                    torch.nn.init.zeros_(parameter)
    send_model_to_device(model)
    model_hijack.hijack(model.eval())
    model_data.set_sd_model(model)
    model_data.was_loaded_at_least_once = True
    script_callbacks.model_loaded_callback(model)
    with devices.autocast(), torch.no_grad():
        model.cond_stage_model_empty_prompt = get_empty_cond(model)
    print(f"{info.title} loaded in {timer.summary()}.")
    return model


def _resident_or_oldest(current: Any, wanted: CheckpointInfo) -> Any:
    """The resident model of this file, else one that may be refilled, or None where there is room for a new one."""
    limit, others = opts.sd_checkpoints_limit, []
    if current is not None:
        send_model_to_cpu(current)
    for model in model_data.loaded_sd_models:
        if model.sd_model_checkpoint == wanted.filename:
            return model
        others.append(model)
    for surplus in others[limit:]:
        _drop(surplus)
    return others[limit - 1] if len(others) >= limit else None


def reload_model_weights(sd_model: Any = None, info: CheckpointInfo | None = None, forced_reload: bool = False) -> Any:
    """Makes `info`, or the selected checkpoint, the current model. Raises what reading the file raises."""
    wanted, timer, current = info or select_checkpoint(), Timer(), sd_model or model_data.sd_model
    if current is not None and current.sd_model_checkpoint == wanted.filename and not forced_reload:
        return current
    model = _resident_or_oldest(current, wanted)
    if model is not None and model.sd_model_checkpoint == wanted.filename and not forced_reload:
        send_model_to_device(model)
        model_data.set_sd_model(model)
        _select(wanted)
        return model
    if model is None:
        model_data.sd_model = None
        return load_model(wanted)
    model_data.sd_model, before = model, model.sd_checkpoint_info
    send_model_to_cpu(model)
    model_hijack.undo_hijack(model)
    tensors = _tensors_of(wanted, timer)  # a file that cannot be read leaves the model unhooked
    if sd_models_config.find_checkpoint_config(tensors, wanted) != model.used_config:
        return load_model(wanted, already_loaded_state_dict=tensors)
    try:
        load_model_weights(model, wanted, tensors, timer)
    except Exception:
        load_model_weights(model, before, None, timer)
        raise
    finally:
        model_hijack.hijack(model)
        send_model_to_device(model)
        script_callbacks.model_loaded_callback(model)
    model_data.set_sd_model(model)
    print(f"{wanted.title} read in {timer.summary()}.")
    return model


__all__ = [
    "CheckpointInfo",
    "checkpoint_aliases",
    "checkpoint_tiles",
    "checkpoints_list",
    "get_closet_checkpoint_match",
    "list_models",
    "model_path",
    "read_state_dict",
    "select_checkpoint",
]
