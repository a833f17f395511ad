"""Names and shapes of published U-Nets: SD, SDXL, and their smaller relatives."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

from embedded.networks import UNetModel
from extension_core.weights.layouts import UNET_PREFIX, diffusers_table

Shapes = dict[str, tuple[int, ...]]
# Transformer blocks of each attention on the way down (ComfyUI's supported_models.py); SDXL's first level has none.
DEPTHS = {"SDXL": (0, 0, 2, 2, 10, 10), "SSD-1B": (0, 0, 2, 2, 4, 4), "Segmind Vega": (0, 0, 1, 1, 2, 2)}


@cache
def sdxl(name: str = "SDXL", channels: int = 4) -> Shapes:
    """Canonical shapes of a U-Net of SDXL's kind, its attentions as deep as those of `name`; upwards in mirror image.

    SSD-1B and Vega are not as regular on their way up, which is not what tells them.
    """
    half = full_sdxl(channels)
    kept: Shapes = {}
    for key, shape in half.items():
        block, found, index = key.partition(".transformer_blocks.")
        if not found or int(index.partition(".")[0]) < depth_of(block, DEPTHS[name]):
            kept[key] = shape
    return kept


@cache
def full_sdxl(channels: int) -> Shapes:
    """Canonical shapes of SDXL's U-Net."""
    with torch.device("meta"):
        unet = UNetModel(
            channels, 4, 320, 2, (2, 4), (1, 2, 4), num_heads=5, context_dim=2048, transformer_depth=(0, 2, 10),
            use_linear_in_transformer=True, adm_in_channels=2816,
        )  # fmt: skip
    return {UNET_PREFIX + name: tuple(tensor.shape) for name, tensor in unet.state_dict().items()}


def depth_of(block: str, depths: tuple[int, ...]) -> int:
    """How many transformer blocks the attention in a block has."""
    side, index = block.removeprefix(UNET_PREFIX).split(".")[:2]
    if side == "input_blocks":
        return depths[{4: 2, 5: 3, 7: 4, 8: 5}[int(index)]]
    if side == "output_blocks":
        return depths[4] if int(index) < 3 else depths[2]
    return depths[4]


BK = ("BK-SDM-Base", "BK-SDM-Small", "BK-SDM-Tiny", "BK-SDM-v2-Tiny")
KOALA = ("KOALA-700M", "KOALA-1B")
_SD = ("CrossAttnDownBlock2D",) * 3
_XL = {
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "block_out_channels": (320, 640, 1280), "attention_head_dim": (5, 10, 20), "cross_attention_dim": 2048,
    "use_linear_projection": True, "addition_embed_type": "text_time", "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}  # fmt: skip
_SMALL = {"attention_head_dim": 8, "cross_attention_dim": 768, "layers_per_block": 1, "mid_block_type": None}
_TINY = {
    **_SMALL, "down_block_types": _SD, "up_block_types": ("CrossAttnUpBlock2D",) * 3,
    "block_out_channels": (320, 640, 1280),
}  # fmt: skip
# What the public `unet/config.json` say that differs from SD's: nota-ai/bk-sdm-*, segmind/small-sd (BK-SDM-Base) and
# tiny-sd, etri-vilab/koala-*.
CONFIGS: dict[str, dict[str, Any]] = {
    "SD 1.5": {"attention_head_dim": 8, "cross_attention_dim": 768},
    "SD 2.1": {"attention_head_dim": (5, 10, 20, 20), "cross_attention_dim": 1024, "use_linear_projection": True},
    "BK-SDM-Base": {**_SMALL, "mid_block_type": "UNetMidBlock2DCrossAttn"},
    "BK-SDM-Small": _SMALL,
    "BK-SDM-Tiny": _TINY,
    "BK-SDM-v2-Tiny": {
        **_TINY, "attention_head_dim": (5, 10, 20), "cross_attention_dim": 1024, "use_linear_projection": True,
    },
    "KOALA-700M": {**_XL, "layers_per_block": 1, "mid_block_type": None, "transformer_layers_per_block": (0, 2, 5)},
    "KOALA-1B": {**_XL, "layers_per_block": 1, "transformer_layers_per_block": (0, 2, 6)},
}  # fmt: skip
# Millions of parameters, as the models' pages say them.
SIZES = {
    "SD 1.5": 860,
    "BK-SDM-Base": 580,
    "BK-SDM-Small": 483,
    "BK-SDM-Tiny": 324,
    "KOALA-700M": 782,
    "KOALA-1B": 1161,
}


@cache
def published(name: str) -> Shapes:
    """A published U-Net's names and shapes, by diffusers itself from its public configuration."""
    with torch.device("meta"):
        unet = UNet2DConditionModel(**CONFIGS[name])
    return {key: tuple(tensor.shape) for key, tensor in unet.state_dict().items()}


@cache
def original(name: str) -> Shapes:
    """The same by ldm's names, as checkpoints in one file have them."""
    per_block = CONFIGS[name].get("layers_per_block", 2)
    wide = CONFIGS[name]["cross_attention_dim"] == 2048
    levels = (1, 2, 4) if len(CONFIGS[name].get("block_out_channels", "four")) == 3 else (1, 2, 4, 4)
    more = {"transformer_depth": CONFIGS[name]["transformer_layers_per_block"], "adm_in_channels": 2816} if wide else {}
    with torch.device("meta"):
        unet = UNetModel(
            4, 4, 320, per_block, (2, 4) if wide else (1, 2, 4), levels, num_heads=8,
            context_dim=CONFIGS[name]["cross_attention_dim"],
            use_linear_in_transformer=CONFIGS[name].get("use_linear_projection", False), **more,
        )  # fmt: skip
    kept = {key: tensor for key, tensor in unet.state_dict().items() if in_middle(name, key)}
    return {UNET_PREFIX + key: tuple(tensor.shape) for key, tensor in kept.items()}


def in_middle(name: str, key: str) -> bool:
    """Whether a U-Net has this tensor, as far as it is one of the middle block."""
    return CONFIGS[name].get("mid_block_type", "some") is not None or not key.startswith("middle_block.")


def called(name: str) -> str:
    """As refusals call it."""
    of = "SD 2.x" if name in ("BK-SDM-v2-Tiny", "SD 2.1") else "SD 1.x"
    return "KOALA" if name in KOALA else f"BK-SDM ({of} with blocks removed)" if name in BK else of


def in_diffusers(shapes: Shapes) -> Shapes:
    """The same under diffusers' names."""
    return {theirs: shapes[ours] for theirs, ours in diffusers_table(shapes).items()}


def shapes_of(name: str) -> Shapes:
    """Canonical shapes of any U-Net of this file."""
    return sdxl(name) if name in DEPTHS else original(name)
