"""The second U-Net's patcher: what a request did to the host's U-Net, done to the second as well.

Forge's memory management knows patchers, not models (backend/memory_management.py, dfdcbab6): a patcher that nobody
refers to is dropped from its list without being moved away, and one that is loaded already is not looked at again, so
networks are merged only into one that is new. Hence one patcher is kept as long as it is the right one.
"""

from __future__ import annotations

from typing import Any

from backend.patcher.unet import UnetPatcher

from extension_core.hosts.forge.inputs import fitted
from extension_core.hosts.forge.prompt_loras import scaled

_PLAIN: dict[str, Any] = {"transformer_options": {}}


def exchanged(patcher: UnetPatcher, requested: UnetPatcher) -> UnetPatcher:
    """What another extension has put in the request's place while it runs, over a phase's model and its networks."""
    copy = requested.clone()
    copy.model, copy.lora_loader = patcher.model, patcher.lora_loader
    copy.current_device, copy.lora_patches = patcher.current_device, patcher.lora_patches
    return copy


class SecondUnet:
    """The distilled U-Net.

    Attributes:
        patcher: the patcher that the host's memory management knows; keeps its model from being forgotten there.
    """

    def __init__(self, patcher: UnetPatcher) -> None:
        """Args: patcher: with the networks that are part of the distilled model, if any.

        Raises:
            DiversityError: those are for another kind of model.
        """
        patcher.lora_patches = fitted(patcher.lora_patches, patcher.model)
        self.patcher = patcher
        self._own_networks = dict(patcher.lora_patches)

    def for_request(self, requested: UnetPatcher, lora_factor: float) -> UnetPatcher:
        """The patcher to sample with, under the patches and controls of the request's own U-Net.

        And under its networks, their weights times `lora_factor`.

        Raises:
            DiversityError: one of them is for another kind of model.
        """
        copy = self._copied(requested, lora_factor)
        if not self._is_the_same(copy):
            self.patcher = copy
        self.patcher.extra_preserved_memory_during_sampling = requested.extra_preserved_memory_during_sampling
        self.patcher.extra_model_patchers_during_sampling = [*requested.extra_model_patchers_during_sampling]
        return self.patcher

    def forget_request(self) -> None:
        """Let go of a request's patches and controls; merged networks stay until others are wanted."""
        self.patcher.model_options = {"transformer_options": {}}
        self.patcher.controlnet_linked_list = None
        self.patcher.extra_concat_condition = None
        self.patcher.extra_preserved_memory_during_sampling = 0
        self.patcher.extra_model_patchers_during_sampling = []

    def _copied(self, requested: UnetPatcher, lora_factor: float) -> UnetPatcher:
        """A clone of the request's patcher, over this model."""
        model = self.patcher.model
        copy = requested.clone()
        if model is not requested.model:
            self._take_place(copy)
        networks = fitted(scaled(copy.lora_patches, lora_factor), model)
        copy.lora_patches = {**self._own_networks, **networks}
        return copy

    def _take_place(self, copy: UnetPatcher) -> None:
        """Put this model under a clone of the host model's patcher."""
        model = self.patcher.model
        if not copy.object_patches:
            model.predictor = copy.model.predictor
        copy.model, copy.lora_loader = model, model.lora_loader
        copy.current_device = self.patcher.current_device

    def _is_the_same(self, copy: UnetPatcher) -> bool:
        """Whether loading it would change nothing; the host tells networks apart by the same keys."""
        return (
            copy.model_options == _PLAIN == self.patcher.model_options
            and copy.controlnet_linked_list is None
            and copy.extra_concat_condition is None
            and not copy.object_patches
            and not self.patcher.object_patches
            and list(copy.lora_patches) == list(self.patcher.lora_patches)
        )
