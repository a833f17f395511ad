"""The host's own U-Net with other weights of the prompt's networks, or in 8 bits: a patcher beside the host's."""

from __future__ import annotations

import weakref
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from backend.patcher.unet import UnetPatcher

from extension_core.hosts.forge.inputs import fitted
from extension_core.hosts.forge.loading import (
    LoadedModel,
    base_key,
    beside_the_loaded,
    second_unet,
    tensors_of,
)
from extension_core.hosts.forge.memory import EIGHT_BITS
from extension_core.hosts.forge.second_unet import SecondUnet
from extension_core.weights.residency import Residency


@dataclass
class _Kept:
    unet: SecondUnet

    def release(self) -> None:
        del self.unet


# Process-wide on purpose: the host merges networks into whatever patcher is new to it.
KEPT: Residency[_Kept] = Residency()
# Likewise: reading the whole base and rounding it takes seconds.
KEPT_IN_8_BITS: Residency[LoadedModel] = Residency()


def base_patcher(stack: ExitStack, requested: UnetPatcher, lora_factor: float) -> UnetPatcher:
    """The request's own patcher, or one with its networks' weights times `lora_factor` until the stack is closed.

    Raises:
        DiversityError: a network is for another kind of model.
    """
    if lora_factor == 1.0 and fitted(requested.lora_patches, requested.model) is requested.lora_patches:
        return requested
    kept = KEPT.get(id(requested.model), lambda: _Kept(_without_networks(requested)))
    stack.callback(kept.unet.forget_request)
    return kept.unet.for_request(requested, lora_factor)


def base_in_8_bits(
    stack: ExitStack, requested: UnetPatcher, lora_factor: float, second: SecondUnet | None = None
) -> UnetPatcher:
    """The request's own patcher over a copy of the base in 8 bits, its networks' weights times `lora_factor`.

    Args:
        second: the base, where that is not the host's own model.

    Raises:
        DiversityError: memory does not suffice.
    """
    model = requested.model if second is None else second.patcher.model
    kept = KEPT_IN_8_BITS.get((*base_key(), weakref.ref(model)), lambda: _load_in_8_bits(model))
    stack.callback(kept.unet.forget_request)
    return kept.unet.for_request(requested, lora_factor)


@torch.inference_mode()
def _load_in_8_bits(model: Any) -> LoadedModel:
    """A `KModel` without networks, stored as the host stores U-Nets in low bits, cast to its number type at each call.

    The host keeps a file's float8 as it is (backend/loader.py, dfdcbab6), so it is given such tensors.

    Raises:
        DiversityError: memory does not suffice.
    """
    with beside_the_loaded("the base in 8 bits"):
        tensors = {name: tensor.to(EIGHT_BITS) for name, tensor in tensors_of(model).items()}
        return LoadedModel(SecondUnet(second_unet(tensors)), None)


def _without_networks(requested: UnetPatcher) -> SecondUnet:
    plain = requested.clone()
    plain.lora_patches = {}
    return SecondUnet(plain)
