"""The loaded model. It is made whole by `forge_model_reload` when a request wants another than the one there is, the
first time with the first picture; until then a stand-in is in its place.
"""

from __future__ import annotations

import contextlib
import gc
from types import SimpleNamespace
from typing import Any

import torch
from backend import memory_management
from backend.args import dynamic_args
from backend.loader import forge_loader

from modules import script_callbacks
from modules.sd_checkpoints import (  # noqa: F401
    checkpoint_aliases,
    checkpoint_tiles,
    checkpoints_list,
    get_closet_checkpoint_match,
    list_models,
    model_path,
    select_checkpoint,
)
from modules.shared import opts
from modules.timer import Timer


class SdModelData:
    """`forge_loading_parameters` is what the settings ask for; `forge_hash` tells what is loaded. What stands for the
    model before there is one has no `forge_objects`.
    """

    def __init__(self) -> None:
        self.sd_model: Any = SimpleNamespace(cond_stage_model=None, chunk_length=75)
        self.forge_loading_parameters: dict[str, Any] = {}
        self.forge_hash = ""

    def get_sd_model(self) -> Any:
        return self.sd_model

    def set_sd_model(self, v: Any) -> None:
        self.sd_model = v


model_data = SdModelData()


def SkipWritingToConfig() -> contextlib.AbstractContextManager[None]:
    return contextlib.nullcontext()


@torch.inference_mode()
def forge_model_reload() -> tuple[Any, bool]:
    """(the model that the settings ask for, whether it was made just now). The old one is dropped before the new one's
    file is read.
    """
    asked, timer = model_data.forge_loading_parameters, Timer()
    if str(asked) == model_data.forge_hash:
        return model_data.sd_model, False
    model_data.sd_model = None
    memory_management.unload_all_models()
    gc.collect()
    info = asked["checkpoint_info"]
    dynamic_args["forge_unet_storage_dtype"] = asked["unet_storage_dtype"]
    model = forge_loader(info.filename)
    model.sd_checkpoint_info, model.filename, model.sd_model_hash = info, info.filename, info.calculate_shorthash()
    opts.data["sd_checkpoint_hash"] = info.sha256
    model_data.sd_model = model
    timer.record("load")
    script_callbacks.model_loaded_callback(model)
    model_data.forge_hash = str(asked)
    print(f"{model.filename} loaded in {timer.summary()}.")
    return model, True


def load_model(checkpoint_info: Any = None, already_loaded_state_dict: Any = None) -> None:
    """Does nothing here, as the other names of the other host's way to load."""


def reload_model_weights(sd_model: Any = None, info: Any = None, forced_reload: bool = False) -> None:
    """Does nothing here."""


def send_model_to_device(m: Any) -> None:
    """Does nothing here; the memory management moves models."""


def unload_model_weights(sd_model: Any = None, info: Any = None) -> None:
    memory_management.unload_all_models()
