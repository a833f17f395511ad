"""Which ldm yaml describes a checkpoint: the one beside it, else Stable Diffusion 1.x's."""

from __future__ import annotations

import os
from typing import Any

from modules.paths_internal import sd_default_config
from modules.shared_cmd_options import cmd_opts

config_default = cmd_opts.default_config or sd_default_config


def find_checkpoint_config_near_filename(info: Any) -> str | None:
    if info is None:
        return None
    config = f"{os.path.splitext(info.filename)[0]}.yaml"
    return config if os.path.exists(config) else None


def guess_model_config_from_state_dict(sd: dict[str, Any], filename: str) -> str:
    """RuntimeError for a layout that this WebUI has no network for."""
    if any(k.startswith("conditioner.embedders.") for k in sd) or "model.diffusion_model.x_embedder.proj.weight" in sd:
        raise RuntimeError(
            f"{filename or 'The file'} is not a Stable Diffusion 1.x checkpoint; the embedded WebUI runs no other."
        )
    return config_default


def find_checkpoint_config(state_dict: dict[str, Any], info: Any) -> str:
    near = find_checkpoint_config_near_filename(info)
    return near or guess_model_config_from_state_dict(state_dict, info.filename if info is not None else "")
