"""A checkpoint's U-Net in diffusers: its configuration is read off the shapes of its tensors."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor

from extension_core.errors import DiversityError
from extension_core.training.denoiser import Conditioning, Network
from extension_core.weights.layouts import UNET_PREFIX, diffusers_table, layers_per_block

Shapes = Mapping[str, tuple[int, ...]]
_SIZE_NUMBERS = 256  # of the sinusoid of each of SDXL's six sizes


def unet_config(shapes: Shapes, heads_of: Callable[[int], int]) -> dict[str, Any]:
    """Arguments of diffusers' `UNet2DConditionModel` for the tensors of an ldm U-Net.

    Args:
        shapes: by ldm's names without prefix.
        heads_of: number of attention heads at a number of channels, which shapes do not tell.
    """
    per_block = layers_per_block(shapes)
    levels = _levels(shapes, per_block)
    widths = [shapes[f"input_blocks.{first}.0.out_layers.3.weight"][0] for first in levels]
    depths = [_depth(shapes, f"input_blocks.{first}.1") for first in levels]
    middle = _depth(shapes, "middle_block.1")
    attention = [depth > 0 for depth in depths]
    crossed = next(shape for name, shape in shapes.items() if name.endswith("attn2.to_k.weight"))
    projection = next(shape for name, shape in shapes.items() if name.endswith(".proj_in.weight"))
    config: dict[str, Any] = {
        "in_channels": shapes["input_blocks.0.0.weight"][1],
        "out_channels": shapes["out.2.weight"][0],
        "block_out_channels": tuple(widths),
        "layers_per_block": per_block,
        "down_block_types": tuple("CrossAttnDownBlock2D" if has else "DownBlock2D" for has in attention),
        "up_block_types": tuple("CrossAttnUpBlock2D" if has else "UpBlock2D" for has in reversed(attention)),
        # The middle is as deep as the last level says, also where that has no attention of its own.
        "transformer_layers_per_block": (*(max(1, depth) for depth in depths[:-1]), middle),
        "cross_attention_dim": crossed[1],
        "attention_head_dim": tuple(heads_of(width) for width in widths),
        "use_linear_projection": len(projection) == 2,
    }
    if (added := shapes.get("label_emb.0.0.weight")) is not None:
        config |= {
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": _SIZE_NUMBERS,
            "projection_class_embeddings_input_dim": added[1],
        }
    return config


def _levels(shapes: Shapes, per_block: int) -> list[int]:
    """The first input block of each resolution."""
    found = [int(match[1]) for name in shapes if (match := re.match(r"input_blocks\.(\d+)\.0\.in_layers\.2\.", name))]
    return list(range(1, max(found) + 1, per_block + 1))


def _depth(shapes: Shapes, place: str) -> int:
    """Transformer blocks of the attention at a place, 0 where there is none."""
    found = (re.match(rf"{re.escape(place)}\.transformer_blocks\.(\d+)\.", name) for name in shapes)
    return max((int(match[1]) + 1 for match in found if match), default=0)


def build_unet(
    tensors: Mapping[str, Tensor], file_name: str, heads_of: Callable[[int], int], dtype: torch.dtype
) -> UNet2DConditionModel:
    """A network that holds the tensors (ldm's names without prefix), each of them and no others.

    Raises:
        DiversityError: the tensors are those of no U-Net that diffusers has.
    """
    names = diffusers_table([UNET_PREFIX + name for name in tensors])
    try:
        config = unet_config({name: tuple(tensor.shape) for name, tensor in tensors.items()}, heads_of)
        with torch.device("meta"):
            unet = UNet2DConditionModel(**config)
        wanted = set(unet.state_dict())
        state = {
            theirs: tensors[ours.removeprefix(UNET_PREFIX)].to(dtype)
            for theirs, ours in names.items()
            if theirs in wanted
        }
        if len(state) != len(tensors):
            raise KeyError(f"{len(tensors) - len(state)} tensors are left over")
        unet.load_state_dict(state, assign=True)
    except (KeyError, IndexError, StopIteration, ValueError, RuntimeError) as error:
        raise DiversityError(
            f"'{file_name}' holds a U-Net of a build that cannot be trained here; choose an SD 1.x, SD 2.x or SDXL "
            "checkpoint."
        ) from error
    return unet.eval().requires_grad_(False)


def ldm_names(unet: UNet2DConditionModel, file_names: list[str]) -> dict[str, str]:
    """Diffusers' name -> ldm's with prefix, for the parameters of a U-Net.

    Args:
        file_names: of the checkpoint's U-Net, with prefix.
    """
    table = diffusers_table(file_names)
    return {name: table[name] for name in unet.state_dict()}


def as_network(unet: Callable[..., Any]) -> Network:
    """A U-Net as `Denoiser` asks it: the raw output [B, C, h, w] at z [B, C, h, w] and timesteps [B]."""

    def network(z: Tensor, timesteps: Tensor, conditioning: Conditioning) -> Tensor:
        added = (
            {"text_embeds": conditioning["pooled"], "time_ids": conditioning["time_ids"]}
            if ("pooled" in conditioning)
            else None
        )
        return unet(z, timesteps, conditioning["prompt_embeds"], added_cond_kwargs=added, return_dict=False)[0]

    return network
