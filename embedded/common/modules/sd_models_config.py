"""The ldm yaml that describes a checkpoint of Stable Diffusion 1.x's layout: the one beside it, else the usual one."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import yaml

from modules import paths_internal
from modules.shared_cmd_options import cmd_opts

_NOT_OF_THE_NETWORK = {"image_size", "use_checkpoint", "legacy", "use_fp16"}
_OF_OTHERS = ("conditioner.embedders.", "model.diffusion_model.x_embedder.")


def find_checkpoint_config_near_filename(info: Any) -> str | None:
    beside = Path(info.filename).with_suffix(".yaml")
    return str(beside) if beside.exists() else None


def find_checkpoint_config(state_dict: dict[str, Any], info: Any) -> str:
    """RuntimeError for a layout that there is no network for."""
    if any(key.startswith(_OF_OTHERS) for key in state_dict):
        raise RuntimeError(f"{info.filename} is no Stable Diffusion 1.x checkpoint; this WebUI runs no other.")
    own = find_checkpoint_config_near_filename(info)
    return own or cmd_opts.default_config or paths_internal.sd_default_config


def read_params(config_path: str) -> dict[str, Any]:
    """`model.params` of a yaml. ValueError where it describes something else than this layout."""
    params = yaml.safe_load(Path(config_path).read_text(encoding="utf8")).get("model", {}).get("params") or {}
    if not {"unet_config", "cond_stage_config"} <= params.keys():
        raise ValueError(f"{config_path} is no ldm configuration of Stable Diffusion 1.x: its unet_config is missing.")
    return params


def unet_arguments(params: dict[str, Any]) -> dict[str, Any]:
    given = params["unet_config"]["params"]
    return {name: given[name] for name in given.keys() - _NOT_OF_THE_NETWORK}


def text_encoder_folder(params: dict[str, Any], config_path: str) -> str:
    """With config.json and the tokenizer's files: beside the yaml, or any, else the one that comes with the stage."""
    version = (params["cond_stage_config"].get("params") or {}).get("version", "")
    named = (Path(config_path).parent / version, Path(version))
    found = next((folder for folder in named if (folder / "vocab.json").is_file()), None)
    return str(found or os.path.join(paths_internal.default_ckpt_dir, "clip"))


@contextmanager
def without_initialisation() -> Iterator[None]:
    """Weights are about to be overwritten; drawing them first would take longer than reading them."""
    names = [name for name in vars(torch.nn.init) if re.fullmatch(r"(?!_|ones|zeros|constant).*_", name)]
    with contextlib.ExitStack() as stack:
        for name in names:
            stack.enter_context(mock.patch.object(torch.nn.init, name, lambda tensor, *args, **kwargs: tensor))
        yield
