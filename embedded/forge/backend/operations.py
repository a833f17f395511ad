"""Layers whose weights may be stored in another number type than they compute in, and that may add LoRAs at each call.

A network is built of torch's own layers; `make_castable` then changes their class.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from backend.patcher.lora import merge_lora_to_weight


def current_weight(layer: Any, name: str, like: torch.Tensor) -> torch.Tensor | None:
    """A layer's weight or bias as this call needs it: type and place of the input, with the LoRAs applied online."""
    stored = getattr(layer, name)
    if stored is None:
        return None
    tensor = stored.to(like) if layer.parameters_manual_cast else stored
    patches = getattr(layer, "forge_online_loras", {}).get(name)
    return tensor if patches is None else merge_lora_to_weight(patches, tensor, name, computation_dtype=tensor.dtype)


class Castable:
    parameters_manual_cast: bool = False

    def parts(self, x: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        return current_weight(self, "weight", x), current_weight(self, "bias", x)


class Linear(Castable, torch.nn.Linear):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.linear(x, *self.parts(x))  # type: ignore[arg-type]


class Conv2d(Castable, torch.nn.Conv2d):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self._conv_forward(x, *self.parts(x))  # type: ignore[arg-type]


class GroupNorm(Castable, torch.nn.GroupNorm):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.group_norm(x, self.num_groups, *self.parts(x), self.eps)


class LayerNorm(Castable, torch.nn.LayerNorm):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.layer_norm(x, self.normalized_shape, *self.parts(x), self.eps)


_KINDS: dict[type, type] = {
    torch.nn.Linear: Linear,
    torch.nn.Conv2d: Conv2d,
    torch.nn.GroupNorm: GroupNorm,
    torch.nn.LayerNorm: LayerNorm,
}


def make_castable(network: torch.nn.Module, manual_cast: bool) -> None:
    """`manual_cast`: weights are stored in another type than inputs come in, and cast at each call."""
    for layer in network.modules():
        kind = _KINDS.get(type(layer))
        if kind is not None:
            layer.__class__ = kind
            layer.parameters_manual_cast = manual_cast  # type: ignore[assignment]
