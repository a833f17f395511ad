"""A LoRA file on disk, and one that is loaded."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
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
        self.te_multiplier = 1.0
        self.unet_multiplier = 1.0
        self.dyn_dim: Any = None
        self.modules: dict[str, NetworkModule] = {}
        self.bundle_embeddings: dict[str, Any] = {}
        self.mtime: float = 0.0
        self.mentioned_name: str | None = None


class NetworkModule:
    """The low-rank change of one layer's weight: up [out, r] times down [r, in, ...], scaled by alpha / r and the
    multiplier.
    """

    def __init__(self, net: Network, weights: NetworkWeights) -> None:
        self.network = net
        self.network_key = weights.network_key
        self.sd_key = weights.sd_key
        self.sd_module = weights.sd_module
        w = weights.w
        pairs = [("lora_up.weight", "lora_down.weight"), ("lora_B.weight", "lora_A.weight")]
        found = next(((w[up], w[down]) for up, down in pairs if up in w and down in w), None)
        if found is None:
            raise AssertionError(f"{weights.network_key}: only pairs of up and down are known, not {', '.join(w)}")
        self.up, self.down = (x.float() for x in found)
        self.mid = w["lora_mid.weight"].float() if "lora_mid.weight" in w else None
        self.dim = self.down.shape[0]
        self.bias = w.get("bias")
        self.alpha = w["alpha"].item() if "alpha" in w else None
        self.scale = w["scale"].item() if "scale" in w else None

    def multiplier(self) -> float:
        return self.network.te_multiplier if "transformer" in self.sd_key[:20] else self.network.unet_multiplier

    def calc_scale(self) -> float:
        if self.scale is not None:
            return self.scale
        return self.alpha / self.dim if self.alpha is not None else 1.0

    def calc_updown(self, orig_weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """What is to be added to the weight, in its shape. RuntimeError where the shapes do not fit."""
        up = self.up.to(orig_weight.device).reshape(self.up.size(0), -1)
        down = self.down.to(orig_weight.device).reshape(self.down.size(0), -1)
        if self.mid is not None:
            updown = torch.einsum("n m k l, i n, m j -> i j k l", self.mid.to(orig_weight.device), up, down)
        else:
            dyn = self.network.dyn_dim
            updown = (up[:, :dyn] @ down[:dyn]) if isinstance(dyn, int) else up @ down
        if self.bias is not None:
            updown = updown + self.bias.to(updown).reshape(updown.shape)
        return updown.reshape(orig_weight.shape) * self.calc_scale() * self.multiplier(), None
