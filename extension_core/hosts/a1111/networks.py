"""The prompt's networks at other weights than the prompt's, for as long as one of the two models reads or runs.

The host's Lora brings each layer to `networks.loaded_networks` when the layer is called, and notes on the layer what it
holds (extensions-builtin/Lora/networks.py, 1.10.1). Both sets of parameters have such notes of their own, so each keeps
its networks merged.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from extension_core.hosts.webui import choices
from extension_core.hosts.webui.networks import changed


def at_factor(factor: float) -> AbstractContextManager[None]:
    """Weights of the prompt's networks times `factor`, also of those that the host activates meanwhile; 0 is none."""
    networks = choices.networks()
    if factor == 1.0 or networks is None:
        return nullcontext()
    return changed(_Scaled(networks.loaded_networks, factor))


def bring_to_wanted(module: torch.nn.Module) -> None:
    """What the host does with a layer's networks when it is called."""
    networks = choices.networks()
    if networks is not None and hasattr(module, "network_layer_name"):
        networks.network_apply_weights(module)


class _Scaled:
    """The host's list of networks, with other weights while put."""

    def __init__(self, loaded: list[Any], factor: float) -> None:
        self._loaded, self._factor = loaded, factor
        self._kept: list[tuple[Any, float, float]] = []

    def put(self) -> None:
        self._kept = [(net, net.te_multiplier, net.unet_multiplier) for net in self._loaded]
        for net, te_multiplier, unet_multiplier in self._kept:
            net.te_multiplier, net.unet_multiplier = te_multiplier * self._factor, unet_multiplier * self._factor
        if self._factor == 0.0:
            self._loaded.clear()

    def take_back(self) -> None:
        for net, te_multiplier, unet_multiplier in self._kept:
            net.te_multiplier, net.unet_multiplier = te_multiplier, unet_multiplier
        self._loaded[:] = [net for net, *_ in self._kept]
