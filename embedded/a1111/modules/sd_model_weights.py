"""A checkpoint's tensors into a model: the cache of files, number types, labels that say which file it is, the VAE."""

from __future__ import annotations

from types import TracebackType
from typing import Any

import torch

from modules import sd_vae, shared
from modules.sd_checkpoints import CheckpointInfo, checkpoints_loaded, get_checkpoint_state_dict
from modules.sd_model_numbers import apply_alpha_schedule_override, set_number_types
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


def set_model_type(model: Any, state_dict: dict[str, torch.Tensor]) -> None:
    del state_dict
    model.is_sd1 = True
    model.is_sd2 = model.is_sdxl = model.is_ssd = model.is_sd3 = False


def select_in_settings(file: CheckpointInfo) -> None:
    """Makes this file the one that the settings name, unless a passing change (Refiner, hires) is under way."""
    if not SkipWritingToConfig.skip:
        shared.opts.data["sd_model_checkpoint"] = file.title


def _keep_in_cache(file: CheckpointInfo, tensors: dict[str, torch.Tensor]) -> None:
    room = shared.opts.sd_checkpoint_cache
    if room > 0:
        checkpoints_loaded[file] = dict(tensors)


def _trim_cache() -> None:
    surplus = len(checkpoints_loaded) - max(shared.opts.sd_checkpoint_cache, 0)
    for file in list(checkpoints_loaded)[: max(surplus, 0)]:
        del checkpoints_loaded[file]


def _label(model: Any, file: CheckpointInfo, short_hash: str | None) -> None:
    """Which file a model holds, on the model and in the settings."""
    labels = {"sd_model_hash": short_hash, "sd_model_checkpoint": file.filename, "sd_checkpoint_info": file}
    for name, value in labels.items():
        setattr(model, name, value)
    shared.opts.data["sd_checkpoint_hash"] = file.sha256


def _attach_vae(model: Any, file: CheckpointInfo) -> None:
    """The VAE that the settings want for this file, over the file's own."""
    sd_vae.delete_base_vae()
    sd_vae.clear_loaded_vae()
    choice = sd_vae.resolve_vae(file.filename)
    sd_vae.load_vae(model, *choice.tuple())


def load_model_weights(
    model: Any, checkpoint_info: CheckpointInfo, state_dict: dict[str, torch.Tensor] | None, timer: Timer
) -> Any:
    """Fills `model` from a file; keys that the file lacks keep what they held. Returns load_state_dict's answer."""
    short_hash = checkpoint_info.calculate_shorthash()
    timer.record("calculate hash")
    select_in_settings(checkpoint_info)
    tensors = get_checkpoint_state_dict(checkpoint_info, timer) if state_dict is None else state_dict
    set_model_type(model, tensors)
    _keep_in_cache(checkpoint_info, tensors)
    unmatched = model.load_state_dict(tensors, strict=False)
    timer.record("apply weights to model")
    if shared.cmd_opts.opt_channelslast:
        model.to(memory_format=torch.channels_last)
    set_number_types(model)
    apply_alpha_schedule_override(model)
    _trim_cache()
    _label(model, checkpoint_info, short_hash)
    _attach_vae(model, checkpoint_info)
    timer.record("load VAE")
    return unmatched
