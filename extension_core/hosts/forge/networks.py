"""The prompt's networks at other weights than the prompt's: patches of clones of the host's patchers.

A patch's weight is part of the key by which the host tells networks apart (backend/patcher/base.py, dfdcbab6), so a
model that holds the wanted ones is not merged again.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

from modules import shared

from extension_core.hosts.webui.networks import changed


def scaled(patches: dict[Any, Any], factor: float) -> dict[Any, Any]:
    """A patcher's `lora_patches` with every weight times `factor`; 0 is none."""
    if factor == 1.0:
        return dict(patches)
    if factor == 0.0:
        return {}
    return {
        (name, weight * factor, *rest): {
            key: [[patch[0] * factor, *patch[1:]] for patch in of_key] for key, of_key in of_network.items()
        }
        for (name, weight, *rest), of_network in patches.items()
    }


def on_text_at_factor(factor: float) -> AbstractContextManager[None]:
    """While a prompt is read: text encoder networks times `factor`, also those that the host activates meanwhile."""
    return nullcontext() if factor == 1.0 else changed(_ScaledText(factor))


class _ScaledText:
    """The text encoder of whichever model the host works with, as a clone with other weights while put."""

    def __init__(self, factor: float) -> None:
        self._factor = factor
        self._objects: Any = None
        self._clip: Any = None

    def put(self) -> None:
        self._objects = shared.sd_model.forge_objects
        self._clip = self._objects.clip
        # What the model had before any prompt: the networks that are part of a distilled model.
        own = shared.sd_model.forge_objects_original.clip.patcher.lora_patches
        prompts = {name: patch for name, patch in self._clip.patcher.lora_patches.items() if name not in own}
        clone = self._clip.clone()
        clone.patcher.lora_patches = {**own, **scaled(prompts, self._factor)}
        self._objects.clip = clone

    def take_back(self) -> None:
        self._objects.clip = self._clip
