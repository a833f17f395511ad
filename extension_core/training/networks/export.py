"""A student's file, as a host loads it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import save
from torch import Tensor

from extension_core.training.networks.checkpoint import Checkpoint
from extension_core.training.networks.lora import lora_tensors
from extension_core.training.networks.unet import ldm_names
from extension_core.training.whole_files import write_whole

# As kohya's tools name what a LoRA is for.
_BASES = {"sd1": "sd_v1", "sd2": "sd_v2", "sdxl": "sdxl_base_v1-0"}


def save_lora(
    unet: UNet2DConditionModel, checkpoint: Checkpoint, path: Path, rank: int, alpha: float, metadata: Mapping[str, str]
) -> None:
    """Write a U-Net's LoRA, in half precision.

    Raises:
        DiversityError: it cannot be written.
    """
    told = {
        "ss_network_module": "networks.lora",
        "ss_network_dim": str(rank),
        "ss_network_alpha": f"{alpha:g}",
        "ss_base_model_version": _BASES[checkpoint.architecture],
        "ss_v_parameterization": str(checkpoint.prediction == "v"),
    }
    _write(lora_tensors(unet), path, {**told, **metadata})


def save_unet(unet: UNet2DConditionModel, checkpoint: Checkpoint, path: Path, metadata: Mapping[str, str]) -> None:
    """Write a whole U-Net under ldm's names, in half precision.

    Raises:
        DiversityError: it cannot be written.
    """
    names = ldm_names(unet, checkpoint.unet_names)
    state: dict[str, Tensor] = unet.state_dict()
    tensors = {names[name]: tensor for name, tensor in state.items()}
    told = {"modelspec.prediction_type": "v" if checkpoint.prediction == "v" else "epsilon"}
    _write(tensors, path, {**told, **metadata})


def _write(tensors: Mapping[str, Tensor], path: Path, metadata: dict[str, str]) -> None:
    halved = {name: tensor.to("cpu", torch.float16).contiguous() for name, tensor in tensors.items()}
    data = save(halved, metadata)
    write_whole(path, lambda file: file.write(data))
