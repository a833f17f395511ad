"""A LoRA as the distilled model: the base's own weights a second time, with the LoRA as their patchers' first patch.

The host merges patches once, when it first loads a patcher (backend/patcher/lora.py, dfdcbab6), and adds the prompt's
networks after them: the sums are those of the base with the LoRA first in the prompt.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from backend.args import dynamic_args
from backend.patcher import lora as host_lora
from modules import shared

from extension_core.errors import DiversityError
from extension_core.hosts.forge import text
from extension_core.hosts.forge.loading import LoadedModel, beside_the_loaded, host_unet_tensors, second_unet
from extension_core.hosts.forge.second_unet import SecondUnet
from extension_core.hosts.forge.text import OwnText
from extension_core.weights.lora_file import LoraFile, left_out_note, lora_tensors

# The host merges networks into these and applies them at each call to others, if asked to (sd_forge_lora/networks.py).
_MERGED_TYPES = (torch.float32, torch.float16, torch.bfloat16)
_BIAS = ".diff_b"


def is_online() -> bool:
    """Whether the host applies networks anew at each call instead of merging them."""
    merged = shared.sd_model.forge_objects.unet.model.storage_dtype in _MERGED_TYPES
    return bool(dynamic_args.get("online_lora")) and not merged


@torch.inference_mode()
def load_lora(lora: LoraFile, strength: float, changes_text: bool) -> LoadedModel:
    """The loaded checkpoint's U-Net, and text encoder if the LoRA is to change it, a second time with the LoRA.

    Raises:
        DiversityError: the host knows no place for the LoRA, or memory does not suffice.
    """
    path, objects = lora.header.path, shared.sd_model.forge_objects
    of_unet, rest = _patches(lora_tensors(lora), host_lora.model_lora_keys_unet(objects.unet.model, {}))
    of_text, rest = _patches(rest, host_lora.model_lora_keys_clip(objects.clip.cond_stage_model, {}))
    if not of_unet:
        raise DiversityError(
            f"The LoRA '{path.name}' is of a kind that this host cannot put into the loaded checkpoint's U-Net; choose "
            "or convert to a plain LoRA."
        )
    with beside_the_loaded(f"the distilled model '{path.name}'"):
        unet = second_unet(host_unet_tensors())
        _patch(unet, lora, of_unet, strength)
        own_text = _patched_text(lora, of_text, strength, unet) if changes_text and of_text else None
    return LoadedModel(SecondUnet(unet), own_text, _left_out(lora, rest))


def _patches(
    tensors: dict[str, torch.Tensor], places: dict[str, Any]
) -> tuple[dict[Any, Any], dict[str, torch.Tensor]]:
    """(patches by the names of a model's parameters, tensors that belong elsewhere).

    Changes of biases are made into patches here, for not every loader of Forge's kind reads them beside a plain LoRA.

    Args:
        places: names of layers in files -> the model's weights, as the host maps them.
    """
    biases = {name: places.get(name.removesuffix(_BIAS)) for name in tensors if name.endswith(_BIAS)}
    here = {name: weight for name, weight in biases.items() if isinstance(weight, str)}
    patches, rest = host_lora.load_lora({name: t for name, t in tensors.items() if name not in here}, places)
    own = {f"{weight.removesuffix('.weight')}.bias": ("diff", (tensors[name],)) for name, weight in here.items()}
    return {**patches, **own}, rest


def _patched_text(lora: LoraFile, patches: Mapping[str, Any], strength: float, unet: Any) -> OwnText:
    own_text = text.second_text(unet.model.diffusion_model)
    originals = own_text.engine.forge_objects_original
    originals.clip = originals.clip.clone()
    _patch(originals.clip, lora, patches, strength)
    own_text.engine.forge_objects.clip = originals.clip
    return own_text


def _patch(patcher: Any, lora: LoraFile, patches: Mapping[str, Any], strength: float) -> None:
    # A name that no file of the prompt has: the host tells networks apart by it.
    name = f"{lora.header.path} as the distilled model"
    patcher.add_patches(filename=name, patches=patches, strength_patch=strength, online_mode=is_online())


def _left_out(lora: LoraFile, rest: Mapping[str, Any]) -> tuple[str, ...]:
    left_out = list(dict.fromkeys(name.partition(".")[0] for name in rest))
    return (left_out_note(lora.header.path.name, left_out, len(lora.layers)),) if left_out else ()
