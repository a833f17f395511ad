"""The loaded model. It is made whole by `forge_model_reload` when a request wants another than the one there is, the
first time with the first picture; until then a stand-in is in its place.
"""

from __future__ import annotations

import contextlib
import gc
import math
import os
import re
from typing import Any

import torch
from backend import memory_management
from backend.args import dynamic_args
from backend.loader import forge_loader

from modules import script_callbacks
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
from modules.shared import cmd_opts, opts
from modules.timer import Timer


class FakeInitialModel:
    """Stands for the model before there is one. It has no `forge_objects`."""

    cond_stage_model = None
    chunk_length = 75

    def get_prompt_lengths_on_ui(self, prompt: str) -> tuple[int, int]:
        words = len([word for word in re.split(r"[\s,.!]+", prompt) if word])
        return words, math.ceil(max(words, 1) / self.chunk_length) * self.chunk_length


class SdModelData:
    """`forge_loading_parameters` is what the settings ask for; `forge_hash` tells what is loaded."""

    def __init__(self) -> None:
        self.sd_model: Any = FakeInitialModel()
        self.forge_loading_parameters: dict[str, Any] = {}
        self.forge_hash = ""

    def get_sd_model(self) -> Any:
        return self.sd_model

    def set_sd_model(self, v: Any) -> None:
        self.sd_model = v


model_data = SdModelData()


def SkipWritingToConfig() -> contextlib.AbstractContextManager[None]:
    return contextlib.nullcontext()


def setup_model() -> None:
    os.makedirs(model_path, exist_ok=True)


def _drop() -> None:
    if model_data.sd_model:
        model_data.sd_model = None
        memory_management.unload_all_models()
        memory_management.soft_empty_cache()
        gc.collect()


def _load(wanted: dict[str, Any]) -> Any:
    info = wanted["checkpoint_info"]
    if info is None:
        raise ValueError("You do not have any model! Put a .safetensors file into the folder of checkpoints.")
    dynamic_args["forge_unet_storage_dtype"] = wanted.get("unet_storage_dtype")
    dynamic_args["embedding_dir"], dynamic_args["emphasis_name"] = cmd_opts.embeddings_dir, opts.emphasis
    model = forge_loader(info.filename, wanted.get("additional_modules", []))
    model.extra_generation_params, model.comments = {}, []
    model.sd_checkpoint_info, model.filename = info, info.filename
    model.sd_model_hash = info.calculate_shorthash()
    opts.data["sd_checkpoint_hash"] = info.sha256
    return model


@torch.inference_mode()
def forge_model_reload() -> tuple[Any, bool]:
    """(the model that the settings ask for, whether it was made just now). The old one is dropped before the new one's
    file is read.
    """
    wanted = str(model_data.forge_loading_parameters)
    if model_data.forge_hash == wanted:
        return model_data.sd_model, False
    timer = Timer()
    print(f"Loading {wanted}")
    _drop()
    timer.record("unload existing model")
    model = _load(model_data.forge_loading_parameters)
    timer.record("forge model load")
    model_data.set_sd_model(model)
    script_callbacks.model_loaded_callback(model)
    timer.record("scripts callbacks")
    print(f"Model loaded in {timer.summary()}.")
    model_data.forge_hash = wanted
    return model, True


def load_model(checkpoint_info: Any = None, already_loaded_state_dict: Any = None) -> None:
    """Does nothing here, as the other names of the other host's way to load."""


def reload_model_weights(sd_model: Any = None, info: Any = None, forced_reload: bool = False) -> None:
    """Does nothing here."""


def send_model_to_device(m: Any) -> None:
    """Does nothing here; the memory management moves models."""


def unload_model_weights(sd_model: Any = None, info: Any = None) -> None:
    memory_management.unload_all_models()


def apply_token_merging(sd_model: Any, token_merging_ratio: float) -> None:
    """The merging itself (tomesd) is not part of this WebUI."""
    if token_merging_ratio > 0:
        print(f"token_merging_ratio = {token_merging_ratio} has no effect in the embedded WebUI")


__all__ = [
    "CheckpointInfo",
    "SkipWritingToConfig",
    "checkpoint_aliases",
    "checkpoint_alisases",
    "checkpoint_tiles",
    "checkpoints_list",
    "checkpoints_loaded",
    "forge_model_reload",
    "get_checkpoint_state_dict",
    "get_closet_checkpoint_match",
    "get_state_dict_from_checkpoint",
    "list_models",
    "model_data",
    "model_dir",
    "model_hash",
    "model_path",
    "read_metadata_from_safetensors",
    "read_state_dict",
    "select_checkpoint",
]
