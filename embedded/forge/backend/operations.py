"""Layers whose weights may be stored in another number type than they compute in, and that may add LoRAs at each call.

A network is built of torch's own layers; `make_castable` then changes their class.
"""

from __future__ import annotations

from typing import Any

import torch

from backend.patcher.lora import merge_lora_to_weight


def _current(layer: Any, name: str, like: torch.Tensor) -> torch.Tensor | None:
    """A layer's weight or bias as this call needs it: type and place of the input, with the LoRAs applied online."""
    stored = getattr(layer, name)
    if stored is None:
        return None
    tensor = stored.to(like) if layer.parameters_manual_cast else stored
    patches = getattr(layer, "forge_online_loras", {}).get(name)
    return tensor if patches is None else merge_lora_to_weight(patches, tensor, name, computation_dtype=tensor.dtype)


def _castable(kind: type[Any]) -> type[Any]:
    """A kind of layer that runs as another one of its kind, which has the tensors of this call."""

    class Castable(kind):
        parameters_manual_cast = False

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            of_this_call = object.__new__(kind)
            vars(of_this_call).update(vars(self))
            of_this_call._parameters = {name: _current(self, name, x) for name in ("weight", "bias")}
            return kind.forward(of_this_call, x)

    Castable.__name__ = kind.__name__
    return Castable


_KINDS = {kind: _castable(kind) for kind in (torch.nn.Linear, torch.nn.Conv2d, torch.nn.GroupNorm, torch.nn.LayerNorm)}


def make_castable(network: torch.nn.Module, manual_cast: bool) -> None:
    """`manual_cast`: weights are stored in another type than inputs come in, and cast at each call."""
    for layer in network.modules():
        kind = _KINDS.get(type(layer))
        if kind is not None:
            layer.__class__ = kind
            layer.parameters_manual_cast = manual_cast  # type: ignore[assignment]
