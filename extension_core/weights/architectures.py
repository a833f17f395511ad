"""What a model or a LoRA was made for, told by names and shapes alone."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping

UNKNOWN = "an unknown architecture"

_CROSS_ATTENTION = "attn2.to_k.weight"
_BY_WIDTH = {768: "SD 1.x", 1024: "SD 2.x", 2048: "SDXL", 1280: "SDXL refiner"}
# SDXL's smaller relatives have its names and widths, and fewer than ten transformer blocks in each attention of the
# deepest level (ComfyUI's supported_models.py); KOALA has one attention a level in place of two.
_BLOCK = re.compile(r"(?:input_blocks.(\d+).1|down_blocks.(\d+).attentions.(\d+)).transformer_blocks.(\d+)\D")
_DEEPEST, _KOALAS_DEEPEST = (7, 8), (5, 7)
_BY_DEPTH = {10: "SDXL", 4: "SSD-1B", 2: "Segmind Vega"}
_KOALAS_DEPTHS = (5, 6)
# BK-SDM is SD 1.x or 2.x with one attention a level on the way down, and two in place of three on the way up
# (`layers_per_block` 1 of its published configurations; small-sd and tiny-sd are two of its sizes). Its levels' places
# on the way down by ldm's numbers; and by SD's own, which they get where diffusers' names are brought to those.
_ATTENTION = re.compile(r"((?:in|out)put_blocks|(?:down|up)_blocks).(\d+).(?:attentions.(\d+)|1).transformer_blocks\D")
_BLOCK_REMOVED = ("SD 1.x", "SD 2.x")
_LEVELS, _LEVELS_AMONG_SDS = {1, 3, 5}, {1, 4, 7}
_SECOND_DOWN, _THIRD_UP = {2, 8}, {5, 8, 11}
# First names of other architectures' blocks and layers, after the prefixes that files put before them, with `_` for
# dots; where several fit, the first in this list. What may stand anywhere has no `^`.
_OTHERS = tuple(
    (re.compile(pattern), name)
    for name, patterns in (
        ("AnimateDiff's motion modules", ("motion_modules_",)),
        ("Stable Video Diffusion", ("temporal_transformer_blocks_", "_time_stack_")),
        ("Stable Cascade", ("^lora_(?:prior|decoder)_", r"^(?:down|up)_blocks_\d+_\d+_(?:attention|channelwise)_")),
        ("ControlNet", ("^lora_controlnet", "^control_model_", "^controlnet_cond_embedding", "^controlnet_blocks_")),
        ("IP-Adapter", ("^ip_adapter_", "_to_[kv]_ip_")),
        ("HiDream", ("^(?:double|single)_stream_blocks_",)),
        ("AuraFlow", ("^joint_transformer_blocks_", r"^double_layers_\d+_")),
        ("Flux or a relative of it", (r"^(?:double|single)_blocks_\d+_", r"^single_transformer_blocks_\d+_")),
        ("Qwen-Image", (r"^transformer_blocks_\d+_(?:img|txt)_(?:mlp|mod)_",)),
        ("SD 3", (r"^joint_blocks_\d+_", r"^transformer_blocks_\d+_ff_context_")),
        ("SD 3, Qwen-Image or the like", (r"^transformer_blocks_\d+_attn_",)),
        ("PixArt, LTX-Video or the like", (r"^transformer_blocks_\d+_",)),
        ("Cosmos or Anima", (r"^blocks_\d+_(?:self|cross)_attn_[qkv]_proj_", r"^blocks_\d+_adaln_modulation_")),
        ("Wan", (r"^blocks_\d+_(?:self|cross)_attn_[qkvo]_", r"^blocks_\d+_ffn_")),
        (
            "Lumina 2 or Z-Image",
            (r"^layers_\d+_(?:attention|adaLN_modulation|feed_forward)_", "^(?:context|noise)_refiner_"),
        ),
        ("a language model", (r"^(?:model_)?layers_\d+_(?:self_attn|mlp)_", r"^transformer_h_\d+_")),
    )
    for pattern in patterns
)
_PREFIXES = re.compile(
    "^(?:base_model_model_|model_diffusion_model_|diffusion_model_|lora_unet_|lora_transformer_|lycoris_|unet_"
    "|transformer_(?!blocks_|h_))*"
)
_TEXT = re.compile(r"text_model|text_encoder|lora_te|clip_[lgh]_|cond_stage_model|conditioner")


def architecture(shapes: Mapping[str, tuple[int, ...]]) -> str:
    """Name of the architecture that a U-Net's tensors belong to, by their canonical names and shapes."""
    widths = {shape[1] for name, shape in shapes.items() if name.endswith(_CROSS_ATTENTION) and len(shape) == 2}
    return by_width_and_names(widths, shapes)


def by_width_and_names(widths: Collection[int], names: Iterable[str]) -> str:
    """Name of the architecture whose cross attention reads prompts of this width.

    Args:
        widths: of every cross attention.
        names: of the U-Net's layers or tensors, in dots or underscores, as in ldm or diffusers.
    """
    names = list(names)
    if len(widths) != 1:
        return other_architecture(names) or by_depth(names) or UNKNOWN
    width = next(iter(widths))
    found = _BY_WIDTH.get(width, f"an unknown kind of model (its prompts are {width} numbers wide)")
    if found == "SDXL":
        return by_depth(names) or found
    removed = found in _BLOCK_REMOVED and lacks_blocks(names)
    return f"BK-SDM ({found} with blocks removed)" if removed else found


def by_depth(names: Iterable[str]) -> str | None:
    """Which of SDXL and its smaller relatives has attentions of this depth; None if the names do not say.

    Args:
        names: all of a U-Net, or those of the layers that a LoRA changes, which may be a few.
    """
    depths: dict[int, set[int]] = {}
    for name in names:
        if (found := _BLOCK.search(f"{name}.")) is not None:
            ours, level, place, index = (None if group is None else int(group) for group in found.groups())
            block = 1 + 3 * (level or 0) + (place or 0) if ours is None else ours
            depths.setdefault(block, set()).add(index or 0)
    whole = {block: len(found) for block, found in depths.items() if found == set(range(len(found)))}
    first, second = (whole.get(block) for block in _DEEPEST)
    if first is not None and first == second:
        return _BY_DEPTH.get(first)
    if _DEEPEST[1] not in depths and any(whole.get(block) in _KOALAS_DEPTHS for block in _KOALAS_DEEPEST):
        return "KOALA"
    return None


def lacks_blocks(names: Iterable[str]) -> bool | None:
    """Whether these are the names of BK-SDM's blocks; None if they do not say.

    Args:
        names: as of `by_depth`.
    """
    down, up = set[int](), set[int]()
    for name in names:
        if (found := _ATTENTION.search(f"{name}.")) is not None:
            side, block, place = found.groups()
            among_sds = int(block) if place is None else 3 * int(block) + int(place) + (side == "down_blocks")
            (down if side in ("input_blocks", "down_blocks") else up).add(among_sds)
    if down & _SECOND_DOWN:
        return False
    whole = down == _LEVELS or (down == _LEVELS_AMONG_SDS and not up & _THIRD_UP)
    return True if whole and up else None


def same_blocks(lora: Iterable[str], unet: Iterable[str]) -> bool:
    """Whether a LoRA was made for a U-Net with as many blocks as this one, as far as their names say."""
    lora, unet = list(lora), list(unet)
    return all(of(lora) is None or of(lora) == of(unet) for of in (by_depth, lacks_blocks))


def other_architecture(keys: Iterable[str]) -> str | None:
    """What a file's keys belong to that has no U-Net of Stable Diffusion; None if they do not say."""
    flat = {_PREFIXES.sub("", f"{key.replace('.', '_')}_") for key in keys if not _TEXT.search(key)}
    return next((name for pattern, name in _OTHERS if any(pattern.search(key) for key in flat)), None)
