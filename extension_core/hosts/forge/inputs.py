"""Networks for 4 input channels on a U-Net that takes a mask and a picture beside the latent (9 channels).

A1111 lets such a network leave the further channels as they are (network_apply_weights of its Lora extension, 1.10.1).
Forge's own merging fails (backend/patcher/lora.py, dfdcbab6), so it is given the change of 9 channels, with zeros.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from backend.patcher import lora as host_lora

from extension_core.errors import DiversityError

_FIRST = "diffusion_model.input_blocks.0.0.weight"
_LATENT = 4


def fitted(networks: dict[Any, Any], model: Any) -> dict[Any, Any]:
    """A patcher's `lora_patches` as this model can take them; the same dict if they fit as they are.

    Raises:
        DiversityError: one changes the first convolution of another kind of model.
    """
    on_first = {name: patches for name, patches in networks.items() if _FIRST in patches}
    if not on_first:
        return networks
    weight: torch.Tensor = model.lora_loader.backup.get(_FIRST, model.diffusion_model.input_blocks[0][0].weight)
    weight = weight.detach().to("cpu", torch.float32)
    padded = {name: _padded(name, patches, weight) for name, patches in on_first.items() if not _fit(patches, weight)}
    return {**networks, **padded} if padded else networks


def _fit(patches: dict[str, Any], weight: torch.Tensor) -> bool:
    return all(_changed(patch, torch.zeros_like(weight)) is not None for patch in patches[_FIRST])


def _padded(name: tuple[Any, ...], patches: dict[str, Any], weight: torch.Tensor) -> dict[str, Any]:
    channels = weight.shape[1]
    changes = [_change(patch, weight[:, :_LATENT]) for patch in patches[_FIRST]] if channels > _LATENT else [None]
    further = (0, 0, 0, 0, 0, channels - _LATENT)
    first = [
        [patch[0], ("diff", (torch.nn.functional.pad(change, further),)), *patch[2:3], None, None]
        for patch, change in zip(patches[_FIRST], changes, strict=True)
        if change is not None
    ]
    if len(first) < len(patches[_FIRST]):
        raise DiversityError(
            f"The LoRA '{Path(name[0]).name}' is for another kind of model than the loaded checkpoint, whose first "
            f"convolution has {channels} input channels; leave it out or load a checkpoint of its kind."
        )
    return {**patches, _FIRST: first}


def _change(patch: list[Any], weight: torch.Tensor) -> torch.Tensor | None:
    """What a network adds to a weight, exactly where that does not depend on the weight; None if it does not fit."""
    added, result = _changed(patch, torch.zeros_like(weight)), _changed(patch, weight)
    if added is None or result is None:
        return None
    to_this = result - weight
    return added if torch.allclose(added, to_this, rtol=1e-3, atol=1e-4) else to_this


def _changed(patch: list[Any], weight: torch.Tensor) -> torch.Tensor | None:
    """A weight with the whole of a network, by the host's own sums; None if they do not fit each other."""
    _, value, _, offset, function = patch
    try:
        changed = host_lora.merge_lora_to_weight([[1.0, value, 1.0, offset, function]], weight.clone(), _FIRST)
    except (RuntimeError, ValueError, IndexError, AssertionError):
        return None
    return changed if changed.shape == weight.shape else None
