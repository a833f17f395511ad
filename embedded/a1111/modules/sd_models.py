"""The loaded model: made from a file, refilled in place from another, kept or dropped by the limit on resident
checkpoints.

The order of steps is the host's, its traps included: the old model is unhooked before the new file is read, so a file
that cannot be read leaves it unhooked; a model of another configuration goes the slow way over `load_model`, whose
empty-prompt conditioning activates an empty set of extra networks; every reload undoes tiling.
"""

from __future__ import annotations

import os
import sys
import threading
from typing import Any

import torch

from modules import (
    devices,
    errors,
    extra_networks,
    lowvram,
    script_callbacks,
    sd_hijack,
    sd_ldm,
    sd_models_config,
    sd_unet,
    sd_vae,
    shared,
)
from modules.sd_checkpoints import (
    CheckpointInfo,
    checkpoint_aliases,
    checkpoint_alisases,
    checkpoint_tiles,
    checkpoints_list,
    checkpoints_loaded,
    get_checkpoint_state_dict,
    get_closet_checkpoint_match,
    get_state_dict_from_checkpoint,
    list_models,
    model_dir,
    model_hash,
    model_path,
    read_metadata_from_safetensors,
    read_state_dict,
    select_checkpoint,
)
from modules.sd_model_numbers import apply_alpha_schedule_override, rescale_zero_terminal_snr_abar, zero_missing
from modules.sd_model_weights import SkipWritingToConfig, load_model_weights, select_in_settings, set_model_type
from modules.timer import Timer


def setup_model() -> None:
    os.makedirs(model_path, exist_ok=True)


def check_fp8(model: Any) -> bool | None:
    return None if model is None else False


def _restore_vae_state(model: Any) -> None:
    """`sd_vae` keeps one model's state in its globals; makes it this model's."""
    for name in ("base_vae", "loaded_vae_file"):
        setattr(sd_vae, name, getattr(model, name, None))
    sd_vae.checkpoint_info = model.sd_checkpoint_info


class SdModelData:
    """The current model and all resident ones, latest first. Asking for the model loads the selected checkpoint,
    once.
    """

    def __init__(self) -> None:
        self.sd_model: Any = None
        self.loaded_sd_models: list[Any] = []
        self.was_loaded_at_least_once = False
        self.lock = threading.Lock()

    def _untried(self) -> bool:
        return self.sd_model is None and not self.was_loaded_at_least_once

    def get_sd_model(self) -> Any:
        if self._untried():
            with self.lock:
                if self._untried():  # another thread may have loaded it meanwhile
                    self._load_selected()
        return self.sd_model

    def _load_selected(self) -> None:
        try:
            load_model()
        except Exception as fault:  # the page must come up all the same
            errors.display(fault, "loading the selected checkpoint", full_traceback=True)
            print("\nNo checkpoint is loaded.", file=sys.stderr)
            self.sd_model = None

    def forget(self, model: Any) -> None:
        self.loaded_sd_models = [resident for resident in self.loaded_sd_models if resident is not model]

    def set_sd_model(self, v: Any, already_loaded: bool = False) -> None:
        self.sd_model = v
        if already_loaded:
            _restore_vae_state(v)
        self.forget(v)
        if v is not None:
            self.loaded_sd_models.insert(0, v)


model_data = SdModelData()


def get_empty_cond(sd_model: Any) -> Any:
    from modules import processing

    extra_networks.activate(processing.StableDiffusionProcessingTxt2Img(), {})
    return sd_model.get_learned_conditioning([""])


def send_model_to_cpu(m: Any) -> None:
    if m is not None:
        m.to(devices.cpu)
    devices.torch_gc()


def send_model_to_device(m: Any) -> None:
    lowvram.apply(m)
    m.to(shared.device)


def send_model_to_trash(m: Any) -> None:
    m.to(device="meta")
    devices.torch_gc()


def _announce(model: Any, timer: Timer) -> None:
    """Tells the extensions, after the text encoder knows its embeddings."""
    sd_hijack.model_hijack.embedding_db.load_textual_inversion_embeddings(force_reload=True)
    script_callbacks.model_loaded_callback(model)
    timer.record("scripts callbacks")
    with devices.autocast(), torch.no_grad():
        model.cond_stage_model_empty_prompt = get_empty_cond(model)
    timer.record("calculate empty prompt")


def load_model(
    checkpoint_info: CheckpointInfo | None = None, already_loaded_state_dict: dict[str, torch.Tensor] | None = None
) -> Any:
    """Drops the current model, then builds one from the checkpoint's yaml and fills it."""
    file = checkpoint_info or select_checkpoint()
    timer = Timer()
    if model_data.sd_model:
        send_model_to_trash(model_data.sd_model)
        model_data.sd_model = None
    given = already_loaded_state_dict
    tensors = get_checkpoint_state_dict(file, timer) if given is None else given
    yaml_path = sd_models_config.find_checkpoint_config(tensors, file)
    print(f"Building {file.title} as {yaml_path} describes it")
    built: Any = sd_ldm.from_config(yaml_path)
    built.used_config = yaml_path
    timer.record("create model")
    zero_missing(built, load_model_weights(built, file, tensors, timer).missing_keys)
    send_model_to_device(built)
    sd_hijack.model_hijack.hijack(built)
    timer.record("hijack")
    built.eval()
    model_data.set_sd_model(built)
    model_data.was_loaded_at_least_once = True
    _announce(built, timer)
    print(f"Model loaded in {timer.summary()}.")
    return built


def _holds(model: Any, file: CheckpointInfo) -> bool:
    return model is not None and model.sd_checkpoint_info.filename == file.filename


def _drop_surplus(wanted: CheckpointInfo) -> None:
    """Resident models over the limit go, oldest first; the wanted one stays."""
    limit = shared.opts.sd_checkpoints_limit
    surplus = len(model_data.loaded_sd_models) - limit if limit > 0 else 0
    others = [model for model in reversed(model_data.loaded_sd_models) if not _holds(model, wanted)]
    for model in others[: max(surplus, 0)]:
        print(f"{model.sd_checkpoint_info.title} leaves memory: the limit is {limit}")
        model_data.forget(model)
        send_model_to_trash(model)


def _make_current(resident: Any) -> None:
    send_model_to_device(resident)
    model_data.set_sd_model(resident, already_loaded=True)
    file = resident.sd_checkpoint_info
    select_in_settings(file)
    if not SkipWritingToConfig.skip:
        shared.opts.data["sd_checkpoint_hash"] = file.sha256
    sd_vae.reload_vae_weights(resident)


def _oldest_to_refill() -> Any:
    """Takes the oldest resident model, which another file will be read into; None where there is none."""
    if not model_data.loaded_sd_models:
        return None
    model_data.sd_model = model_data.loaded_sd_models.pop()
    _restore_vae_state(model_data.sd_model)
    return model_data.sd_model


def reuse_model_from_already_loaded(sd_model: Any, checkpoint_info: CheckpointInfo, timer: Timer) -> Any:
    """The model of this file if it is resident, else one that may be refilled, or None."""
    del timer
    if _holds(sd_model, checkpoint_info):
        return sd_model
    if shared.opts.sd_checkpoints_keep_in_cpu:
        send_model_to_cpu(sd_model)
    _drop_surplus(checkpoint_info)
    residents, limit = model_data.loaded_sd_models, shared.opts.sd_checkpoints_limit
    match = next((model for model in residents if _holds(model, checkpoint_info)), None)
    if match is not None:
        _make_current(match)
    elif limit > 1 and len(residents) < limit:
        model_data.sd_model = None
        load_model(checkpoint_info)
    else:
        return _oldest_to_refill()
    return model_data.sd_model


class _Exchange:
    """Another file read into a model that stands, or a new model where its yaml is another."""

    def __init__(self, wanted: CheckpointInfo, before: CheckpointInfo | None, timer: Timer) -> None:
        self.wanted, self.before, self.timer = wanted, before, timer

    def run(self, model: Any) -> Any:
        if model is not None:
            self._detach(model)
        tensors = get_checkpoint_state_dict(self.wanted, self.timer)
        yaml_path = sd_models_config.find_checkpoint_config(tensors, self.wanted)
        if model is not None and model.used_config == yaml_path:
            return self._refill(model, tensors)
        if model is not None:
            send_model_to_trash(model)
        load_model(self.wanted, already_loaded_state_dict=tensors)
        return model_data.sd_model

    def _detach(self, model: Any) -> None:
        """Before the file is read, as on the host: what fails from here to `_refill` leaves the model unhooked."""
        sd_unet.apply_unet("None")
        send_model_to_cpu(model)
        sd_hijack.model_hijack.undo_hijack(model)

    def _refill(self, model: Any, tensors: dict[str, torch.Tensor]) -> Any:
        try:
            self._read_or_go_back(model, tensors)
        finally:
            sd_hijack.model_hijack.hijack(model)
            model.to(devices.device)
            script_callbacks.model_loaded_callback(model)
            self.timer.record("script callbacks")
        print(f"{self.wanted.title} read in {self.timer.summary()}.")
        model_data.set_sd_model(model)
        sd_unet.apply_unet()
        return model

    def _read_or_go_back(self, model: Any, tensors: dict[str, torch.Tensor]) -> None:
        try:
            load_model_weights(model, self.wanted, tensors, self.timer)
        except Exception:
            assert self.before is not None
            print(f"{self.wanted.title} could not be read; going back to {self.before.title}")
            load_model_weights(model, self.before, None, self.timer)
            raise


def reload_model_weights(sd_model: Any = None, info: CheckpointInfo | None = None, forced_reload: bool = False) -> Any:
    """Makes `info`, or the selected checkpoint, the current model. Raises what reading the file raises."""
    wanted, timer = info or select_checkpoint(), Timer()
    current = sd_model or model_data.sd_model
    before = None if current is None else current.sd_checkpoint_info
    if current is not None and current.sd_model_checkpoint == wanted.filename and not forced_reload:
        return current
    usable = reuse_model_from_already_loaded(current, wanted, timer)
    if _holds(usable, wanted) and not forced_reload:
        return usable
    return _Exchange(wanted, before, timer).run(usable)


def unload_model_weights(sd_model: Any = None, info: CheckpointInfo | None = None) -> Any:
    del info
    send_model_to_cpu(shared.sd_model if sd_model is None else sd_model)
    return sd_model


def apply_token_merging(sd_model: Any, token_merging_ratio: float) -> None:
    """Keeps the ratio on the model, as the host does; the merging itself (tomesd) is not part of this WebUI."""
    applied = getattr(sd_model, "applied_token_merged_ratio", 0)
    if applied != token_merging_ratio:
        sd_model.applied_token_merged_ratio = token_merging_ratio


__all__ = [
    "CheckpointInfo",
    "SkipWritingToConfig",
    "apply_alpha_schedule_override",
    "checkpoint_aliases",
    "checkpoint_alisases",
    "checkpoint_tiles",
    "checkpoints_list",
    "checkpoints_loaded",
    "get_checkpoint_state_dict",
    "get_closet_checkpoint_match",
    "get_state_dict_from_checkpoint",
    "list_models",
    "load_model",
    "load_model_weights",
    "model_data",
    "model_dir",
    "model_hash",
    "model_path",
    "read_metadata_from_safetensors",
    "read_state_dict",
    "reload_model_weights",
    "rescale_zero_terminal_snr_abar",
    "select_checkpoint",
    "set_model_type",
]
