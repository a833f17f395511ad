"""The host's own U-Net with other weights of the prompt's networks: a patcher beside the host's."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass

from backend.patcher.unet import UnetPatcher

from extension_core.hosts.forge.second_unet import SecondUnet
from extension_core.weights.residency import Residency


@dataclass
class _Kept:
    unet: SecondUnet

    def release(self) -> None:
        del self.unet


# Process-wide on purpose: the host merges networks into whatever patcher is new to it.
KEPT: Residency[_Kept] = Residency()


def base_patcher(stack: ExitStack, requested: UnetPatcher, lora_factor: float) -> UnetPatcher:
    """The request's own patcher, or one with its networks' weights times `lora_factor` until the stack is closed."""
    if lora_factor == 1.0:
        return requested
    kept = KEPT.get(id(requested.model), lambda: _Kept(_without_networks(requested)))
    stack.callback(kept.unet.forget_request)
    return kept.unet.for_request(requested, lora_factor)


def _without_networks(requested: UnetPatcher) -> SecondUnet:
    plain = requested.clone()
    plain.lora_patches = {}
    return SecondUnet(plain)
