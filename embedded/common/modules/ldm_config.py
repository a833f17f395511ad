"""The ldm yaml that describes a checkpoint of Stable Diffusion 1.x's layout."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import yaml

from modules.paths_internal import default_ckpt_dir

_NOT_OF_THE_NETWORK = ("image_size", "use_checkpoint", "legacy", "use_fp16")


def read_params(config_path: str) -> dict[str, Any]:
    """`model.params` of a yaml. ValueError where it describes something else than this layout."""
    with open(config_path, encoding="utf8") as file:
        config = yaml.safe_load(file)
    params = config.get("model", {}).get("params")
    if not params or "unet_config" not in params or "cond_stage_config" not in params:
        raise ValueError(
            f"{config_path} is not an ldm configuration of Stable Diffusion 1.x: model.params.unet_config is missing."
        )
    return params


def unet_arguments(params: dict[str, Any]) -> dict[str, Any]:
    given = params["unet_config"]["params"]
    return {name: value for name, value in given.items() if name not in _NOT_OF_THE_NETWORK}


def text_encoder_folder(version: str, config_path: str) -> str:
    """A relative `version` is a folder beside the yaml.

    A name that is no folder (the published files' "openai/...") means the tokenizer that comes with this WebUI.
    """
    for folder in (os.path.join(os.path.dirname(config_path), version), version):
        if os.path.isfile(os.path.join(folder, "vocab.json")):
            return folder
    return os.path.join(default_ckpt_dir, "clip")


@contextmanager
def without_initialisation() -> Iterator[None]:
    """Weights are about to be overwritten; drawing them first would take longer than reading them."""
    names = [x for x in dir(torch.nn.init) if x.endswith("_") and not x.startswith(("_", "ones", "zeros", "constant"))]
    kept = {name: getattr(torch.nn.init, name) for name in names}
    try:
        for name in names:
            setattr(torch.nn.init, name, lambda tensor, *args, **kwargs: tensor)
        yield
    finally:
        for name, function in kept.items():
            setattr(torch.nn.init, name, function)
