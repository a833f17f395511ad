"""A LoRA file that is loaded."""

from __future__ import annotations

from copy import copy
from typing import Any, NamedTuple

import torch
from modules import lora_kinds
from modules.lora_files import NetworkOnDisk


class NetworkWeights(NamedTuple):
    """The tensors of one layer: `w` by the last part of their names."""

    network_key: str
    sd_key: str
    w: dict[str, torch.Tensor]
    sd_module: torch.nn.Module


class Network:
    """Its multipliers belong to the prompt that mentions it; `mentioned_name` is what the prompt called it."""

    def __init__(self, name: str, network_on_disk: NetworkOnDisk) -> None:
        self.name = name
        self.network_on_disk = network_on_disk
        self.te_multiplier = self.unet_multiplier = 1.0
        self.dyn_dim: Any = None
        self.modules: dict[str, NetworkModule] = {}
        self.mtime: float = 0.0
        self.mentioned_name: str | None = None


class NetworkModule:
    """The change of one layer's weight, scaled by alpha / rank and the multiplier."""

    def __init__(self, net: Network, weights: NetworkWeights) -> None:
        self.network = net
        self.network_key, self.sd_key, w, self.sd_module = weights
        if not lora_kinds.is_known(w):
            raise AssertionError(f"{weights.network_key}: of no kind that is known here: {', '.join(w)}")
        self.w = {name: tensor.float() for name, tensor in w.items()}
        self.alpha = w["alpha"].item() if "alpha" in w else None

    def multiplier(self) -> float:
        return self.network.te_multiplier if "transformer" in self.sd_key[:20] else self.network.unet_multiplier

    def calc_updown(self, orig_weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """What is to be added to the weight, in its shape. RuntimeError where the shapes do not fit."""
        updown, rank = lora_kinds.difference({name: w.to(orig_weight.device) for name, w in self.w.items()})
        # A LoRA for fewer input channels keeps its own, for the caller to pad.
        inputs = orig_weight.shape[1:2] if updown.numel() == orig_weight.numel() else (-1,)
        scale = 1.0 if self.alpha is None else self.alpha / rank
        updown = updown.reshape(*orig_weight.shape[:1], *inputs, *orig_weight.shape[2:]) * scale
        return updown * self.multiplier(), None

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """The layer's result `y` for `x`, and the change's: a layer of the same kind with the change as its weight."""
        layer = copy(self.sd_module)
        change, _ = self.calc_updown(self.sd_module.weight)
        layer._parameters = {"weight": torch.nn.Parameter(change, requires_grad=False), "bias": None}
        layer.network_layer_name = None  # pyright: ignore[reportArgumentType]
        return y + type(layer).forward(layer, x)
