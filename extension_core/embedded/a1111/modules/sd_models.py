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
from types import TracebackType
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
from modules.sd_model_numbers import (
    apply_alpha_schedule_override,
    rescale_zero_terminal_snr_abar,
    set_number_types,
    zero_missing,
)
from modules.timer import Timer


class SkipWritingToConfig:
    """While entered, loading a checkpoint does not make it the selected one."""

    skip = False
    previous = False

    def __enter__(self) -> SkipWritingToConfig:
        self.previous = SkipWritingToConfig.skip
        SkipWritingToConfig.skip = True
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        SkipWritingToConfig.skip = self.previous


def setup_model() -> None:
    os.makedirs(model_path, exist_ok=True)


def check_fp8(model: Any) -> bool | None:
    return None if model is None else False


def set_model_type(model: Any, state_dict: dict[str, torch.Tensor]) -> None:
    del state_dict
    model.is_sd1 = True
    model.is_sd2 = model.is_sdxl = model.is_ssd = model.is_sd3 = False


def load_model_weights(
    model: Any, checkpoint_info: CheckpointInfo, state_dict: dict[str, torch.Tensor] | None, timer: Timer
) -> Any:
    """Fills `model` from a file; keys that the file lacks keep what they held. Returns load_state_dict's answer."""
    sd_model_hash = checkpoint_info.calculate_shorthash()
    timer.record("calculate hash")
    if not SkipWritingToConfig.skip:
        shared.opts.data["sd_model_checkpoint"] = checkpoint_info.title
    if state_dict is None:
        state_dict = get_checkpoint_state_dict(checkpoint_info, timer)
    set_model_type(model, state_dict)
    if shared.opts.sd_checkpoint_cache > 0:
        checkpoints_loaded[checkpoint_info] = state_dict.copy()
    answer = model.load_state_dict(state_dict, strict=False)
    timer.record("apply weights to model")
    del state_dict
    if shared.cmd_opts.opt_channelslast:
        model.to(memory_format=torch.channels_last)
    set_number_types(model)
    apply_alpha_schedule_override(model)
    while len(checkpoints_loaded) > shared.opts.sd_checkpoint_cache:
        checkpoints_loaded.popitem(last=False)
    model.sd_model_hash = sd_model_hash
    model.sd_model_checkpoint = checkpoint_info.filename
    model.sd_checkpoint_info = checkpoint_info
    shared.opts.data["sd_checkpoint_hash"] = checkpoint_info.sha256
    sd_vae.delete_base_vae()
    sd_vae.clear_loaded_vae()
    sd_vae.load_vae(model, *sd_vae.resolve_vae(checkpoint_info.filename).tuple())
    timer.record("load VAE")
    return answer


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
        if self.was_loaded_at_least_once or self.sd_model is not None:
            return self.sd_model
        with self.lock:
            if self.sd_model is None and not self.was_loaded_at_least_once:
                try:
                    load_model()
                except Exception as e:  # the page must come up all the same
                    errors.display(e, "loading stable diffusion model", full_traceback=True)
                    print("\nStable diffusion model failed to load", file=sys.stderr)
                    self.sd_model = None
        return self.sd_model

    def set_sd_model(self, v: Any, already_loaded: bool = False) -> None:
        self.sd_model = v
        if already_loaded:
            sd_vae.base_vae = getattr(v, "base_vae", None)
            sd_vae.loaded_vae_file = getattr(v, "loaded_vae_file", None)
            sd_vae.checkpoint_info = v.sd_checkpoint_info
        self.loaded_sd_models = [x for x in self.loaded_sd_models if x is not v]
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


def load_model(
    checkpoint_info: CheckpointInfo | None = None, already_loaded_state_dict: dict[str, torch.Tensor] | None = None
) -> Any:
    """Drops the current model, then builds one from the checkpoint's yaml and fills it."""
    checkpoint_info = checkpoint_info or select_checkpoint()
    timer = Timer()
    if model_data.sd_model:
        send_model_to_trash(model_data.sd_model)
        model_data.sd_model = None
    state_dict = already_loaded_state_dict
    if state_dict is None:
        state_dict = get_checkpoint_state_dict(checkpoint_info, timer)
    config = sd_models_config.find_checkpoint_config(state_dict, checkpoint_info)
    print(f"Creating model from config: {config}")
    sd_model: Any = sd_ldm.from_config(config)
    sd_model.used_config = config
    timer.record("create model")
    answer = load_model_weights(sd_model, checkpoint_info, state_dict, timer)
    zero_missing(sd_model, answer.missing_keys)
    send_model_to_device(sd_model)
    sd_hijack.model_hijack.hijack(sd_model)
    timer.record("hijack")
    sd_model.eval()
    model_data.set_sd_model(sd_model)
    model_data.was_loaded_at_least_once = True
    sd_hijack.model_hijack.embedding_db.load_textual_inversion_embeddings(force_reload=True)
    script_callbacks.model_loaded_callback(sd_model)
    timer.record("scripts callbacks")
    with devices.autocast(), torch.no_grad():
        sd_model.cond_stage_model_empty_prompt = get_empty_cond(sd_model)
    timer.record("calculate empty prompt")
    print(f"Model loaded in {timer.summary()}.")
    return sd_model


def _already_loaded(checkpoint_info: CheckpointInfo) -> Any:
    """The resident model of this file; drops others over the limit, oldest first."""
    found = None
    for i in reversed(range(len(model_data.loaded_sd_models))):
        m = model_data.loaded_sd_models[i]
        if m.sd_checkpoint_info.filename == checkpoint_info.filename:
            found = m
        elif len(model_data.loaded_sd_models) > shared.opts.sd_checkpoints_limit > 0:
            print(f"Unloading model over the limit of {shared.opts.sd_checkpoints_limit}: {m.sd_checkpoint_info.title}")
            del model_data.loaded_sd_models[i]
            send_model_to_trash(m)
    return found


def reuse_model_from_already_loaded(sd_model: Any, checkpoint_info: CheckpointInfo, timer: Timer) -> Any:
    """The model of this file if it is resident, else one that may be refilled, or None."""
    if sd_model is not None and sd_model.sd_checkpoint_info.filename == checkpoint_info.filename:
        return sd_model
    if shared.opts.sd_checkpoints_keep_in_cpu:
        send_model_to_cpu(sd_model)
    already_loaded = _already_loaded(checkpoint_info)
    if already_loaded is not None:
        send_model_to_device(already_loaded)
        model_data.set_sd_model(already_loaded, already_loaded=True)
        if not SkipWritingToConfig.skip:
            shared.opts.data["sd_model_checkpoint"] = already_loaded.sd_checkpoint_info.title
            shared.opts.data["sd_checkpoint_hash"] = already_loaded.sd_checkpoint_info.sha256
        print(f"Using already loaded model {already_loaded.sd_checkpoint_info.title}: done in {timer.summary()}")
        sd_vae.reload_vae_weights(already_loaded)
        return model_data.sd_model
    if shared.opts.sd_checkpoints_limit > 1 and len(model_data.loaded_sd_models) < shared.opts.sd_checkpoints_limit:
        model_data.sd_model = None
        load_model(checkpoint_info)
        return model_data.sd_model
    if model_data.loaded_sd_models:
        sd_model = model_data.loaded_sd_models.pop()
        model_data.sd_model = sd_model
        sd_vae.base_vae = getattr(sd_model, "base_vae", None)
        sd_vae.loaded_vae_file = getattr(sd_model, "loaded_vae_file", None)
        sd_vae.checkpoint_info = sd_model.sd_checkpoint_info
        print(f"Reusing loaded model {sd_model.sd_checkpoint_info.title} to load {checkpoint_info.title}")
        return sd_model
    return None


def reload_model_weights(sd_model: Any = None, info: CheckpointInfo | None = None, forced_reload: bool = False) -> Any:
    """Makes `info`, or the selected checkpoint, the current model. Raises what reading the file raises."""
    checkpoint_info = info or select_checkpoint()
    timer = Timer()
    sd_model = sd_model or model_data.sd_model
    current_checkpoint_info = None if sd_model is None else sd_model.sd_checkpoint_info
    if sd_model is not None and sd_model.sd_model_checkpoint == checkpoint_info.filename and not forced_reload:
        return sd_model
    sd_model = reuse_model_from_already_loaded(sd_model, checkpoint_info, timer)
    if not forced_reload and sd_model is not None and sd_model.sd_checkpoint_info.filename == checkpoint_info.filename:
        return sd_model
    if sd_model is not None:
        sd_unet.apply_unet("None")
        send_model_to_cpu(sd_model)
        sd_hijack.model_hijack.undo_hijack(sd_model)
    state_dict = get_checkpoint_state_dict(checkpoint_info, timer)
    config = sd_models_config.find_checkpoint_config(state_dict, checkpoint_info)
    if sd_model is None or config != sd_model.used_config:
        if sd_model is not None:
            send_model_to_trash(sd_model)
        load_model(checkpoint_info, already_loaded_state_dict=state_dict)
        return model_data.sd_model
    try:
        load_model_weights(sd_model, checkpoint_info, state_dict, timer)
    except Exception:
        print("Failed to load checkpoint, restoring previous")
        assert current_checkpoint_info is not None
        load_model_weights(sd_model, current_checkpoint_info, None, timer)
        raise
    finally:
        sd_hijack.model_hijack.hijack(sd_model)
        sd_model.to(devices.device)
        script_callbacks.model_loaded_callback(sd_model)
        timer.record("script callbacks")
    print(f"Weights loaded in {timer.summary()}.")
    model_data.set_sd_model(sd_model)
    sd_unet.apply_unet()
    return sd_model


def unload_model_weights(sd_model: Any = None, info: CheckpointInfo | None = None) -> Any:
    del info
    send_model_to_cpu(sd_model or shared.sd_model)
    return sd_model


def apply_token_merging(sd_model: Any, token_merging_ratio: float) -> None:
    """Keeps the ratio on the model, as the host does; the merging itself (tomesd) is not part of this WebUI."""
    if getattr(sd_model, "applied_token_merged_ratio", 0) != token_merging_ratio:
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
    "model_data",
    "model_dir",
    "model_hash",
    "model_path",
    "read_metadata_from_safetensors",
    "read_state_dict",
    "reload_model_weights",
    "rescale_zero_terminal_snr_abar",
    "select_checkpoint",
]
