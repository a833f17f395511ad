"""The names one U-Net has in the files users download, brought to those of full checkpoints.

Original names are ldm's (`input_blocks.1.1.proj_in.weight`), with or without the path that full checkpoints put before
them; diffusers has names of its own (`down_blocks.0.attentions.0.proj_in.weight`). The tensors are the same in both,
for SD 1.x, SD 2.x and SDXL (diffusers.loaders.single_file_utils.convert_ldm_unet_checkpoint, 0.31.0).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping

from extension_core.errors import DiversityError

UNET_PREFIX = "model.diffusion_model."
EMA_PREFIX = "model_ema."

_ORIGINAL_PREFIXES = ("diffusion_model.", "")
_DIFFUSERS_PREFIXES = ("unet.", "")
_ORIGINAL_ROOTS = ("input_blocks.", "middle_block.", "output_blocks.", "time_embed.", "label_emb.", "out.")
_DIFFUSERS_ROOTS = (
    *("conv_in.", "down_blocks.", "mid_block.", "up_blocks.", "conv_norm_out.", "conv_out."),
    *("time_embedding.", "add_embedding.", "class_embedding."),
)
# SDXL's added conditions are `add_embedding`; a U-Net of SD 2.1 unCLIP calls the same place `class_embedding`.
_OUTER = (
    ("input_blocks.0.0.", ("conv_in.",)),
    ("time_embed.0.", ("time_embedding.linear_1.",)),
    ("time_embed.2.", ("time_embedding.linear_2.",)),
    ("label_emb.0.0.", ("add_embedding.linear_1.", "class_embedding.linear_1.")),
    ("label_emb.0.2.", ("add_embedding.linear_2.", "class_embedding.linear_2.")),
    ("out.0.", ("conv_norm_out.",)),
    ("out.2.", ("conv_out.",)),
)
_RESNET = (
    ("in_layers.0.", "norm1."),
    ("in_layers.2.", "conv1."),
    ("emb_layers.1.", "time_emb_proj."),
    ("out_layers.0.", "norm2."),
    ("out_layers.3.", "conv2."),
    ("skip_connection.", "conv_shortcut."),
)
_BLOCK = re.compile(r"(input_blocks|output_blocks)\.(\d+)\.(\d+)\.(.+)|(middle_block)\.(\d+)\.(.+)")


def layers_per_block(names: Iterable[str]) -> int:
    """Residual blocks of one resolution: 2 in every published Stable Diffusion; told by the first downsampling."""
    found = (re.fullmatch(r"(?:.*\.)?input_blocks\.(\d+)\.0\.op\.weight", name) for name in names)
    return min((int(match.group(1)) - 1 for match in found if match), default=2)


def diffusers_names(name: str, per_block: int) -> tuple[str, ...]:
    """What diffusers may call a tensor of ldm's U-Net; both names without prefix. () for what it does not have."""
    for ours, theirs in _OUTER:
        if name.startswith(ours):
            return tuple(root + name.removeprefix(ours) for root in theirs)
    match = _BLOCK.fullmatch(name)
    if match is None:
        return ()
    if match.group(5):
        return (_middle(int(match.group(6)), match.group(7)),)
    index, place, rest = int(match.group(2)), int(match.group(3)), match.group(4)
    side = _down if match.group(1) == "input_blocks" else _up
    return (side(index, place, rest, per_block),)


def _down(index: int, place: int, rest: str, per_block: int) -> str:
    level, layer = divmod(index - 1, per_block + 1)
    if rest.startswith("op."):
        return f"down_blocks.{level}.downsamplers.0.conv.{rest.removeprefix('op.')}"
    return f"down_blocks.{level}.{_part(place == 0, layer, rest)}"


def _up(index: int, place: int, rest: str, per_block: int) -> str:
    level, layer = divmod(index, per_block + 1)
    if place > 0 and rest.startswith("conv."):
        return f"up_blocks.{level}.upsamplers.0.{rest}"
    return f"up_blocks.{level}.{_part(place == 0, layer, rest)}"


def _middle(place: int, rest: str) -> str:
    return f"mid_block.{_part(place != 1, place // 2, rest)}"


def _part(is_resnet: bool, layer: int, rest: str) -> str:
    if not is_resnet:
        return f"attentions.{layer}.{rest}"
    for ours, theirs in _RESNET:
        if rest.startswith(ours):
            return f"resnets.{layer}.{theirs}{rest.removeprefix(ours)}"
    return f"resnets.{layer}.{rest}"


def diffusers_table(unet_names: Collection[str]) -> dict[str, str]:
    """Diffusers' name (without prefix) -> canonical name, for every tensor of a U-Net given by its canonical names."""
    per_block = layers_per_block(unet_names)
    return {
        theirs: name for name in unet_names for theirs in diffusers_names(name.removeprefix(UNET_PREFIX), per_block)
    }


def canonical_unet_keys(keys: Collection[str], unet_names: Collection[str]) -> dict[str, str]:
    """Key in the file -> canonical name, of everything in it that names a part of a U-Net.

    Args:
        keys: all keys of the file.
        unet_names: canonical names of the U-Net that it is to take turns with.

    Parts that this U-Net does not have keep their name after the common prefix, so that they can be reported. The EMA
    set of a training checkpoint counts where it is the only one, as hosts use the other.
    """
    table = diffusers_table(unet_names)
    found = {key: name for key in keys if (name := _canonical(key, table)) is not None}
    return found or dict(_ema(keys, unet_names))


def _canonical(key: str, table: Mapping[str, str]) -> str | None:
    if key.startswith(UNET_PREFIX):
        return key
    for prefix in _ORIGINAL_PREFIXES:
        if key.startswith(prefix) and key.removeprefix(prefix).startswith(_ORIGINAL_ROOTS):
            return UNET_PREFIX + key.removeprefix(prefix)
    for prefix in _DIFFUSERS_PREFIXES:
        bare = key.removeprefix(prefix)
        if key.startswith(prefix) and bare.startswith(_DIFFUSERS_ROOTS):
            return table.get(bare, UNET_PREFIX + bare)
    return None


def _ema(keys: Collection[str], unet_names: Collection[str]) -> Iterator[tuple[str, str]]:
    """Ldm's LitEma keeps its copies under the parameters' names without their dots."""
    present = set(keys)
    for name in unet_names:
        key = EMA_PREFIX + name.removeprefix("model.").replace(".", "")
        if key in present:
            yield key, name


def is_unet_path(path: str) -> bool:
    """Whether a path without prefix begins as a U-Net's layers do, in either layout."""
    return f"{path}.".startswith((*_ORIGINAL_ROOTS, *_DIFFUSERS_ROOTS))


def check_named_once(file_name: str, names: Mapping[str, str]) -> None:
    """Refuse a file that holds a tensor twice, under two layouts' names.

    Args:
        names: as `canonical_unet_keys` gives them.

    Raises:
        DiversityError: how many tensors, and the first three.
    """
    seen: set[str] = set()
    twice = sorted({name for name in names.values() if name in seen or seen.add(name)})
    if twice:
        raise DiversityError(
            f"The distilled model '{file_name}' holds {len(twice)} U-Net tensors under two names each, first "
            f"{', '.join(twice[:3])}; choose a file with one set of names."
        )
