"""LoRAs on a U-Net while it is trained, and as files that hosts read (kohya's key names)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.utils import parametrize

_ENDINGS = ("to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2", "proj_in", "proj_out")


class LowRank(nn.Module):
    """A weight [out, in, ...] plus ``scale`` up [out, rank] down [rank, in * ...]; adds nothing before training."""

    def __init__(self, weight: Tensor, rank: int, generator: torch.Generator) -> None:
        super().__init__()
        outputs, inputs = weight.shape[0], weight[0].numel()
        self.down = nn.Parameter(torch.randn(rank, inputs, generator=generator) * inputs**-0.5)
        self.up = nn.Parameter(torch.zeros(outputs, rank))
        self.scale = 1.0

    def forward(self, weight: Tensor) -> Tensor:
        return weight + self.scale * (self.up @ self.down).view_as(weight)


class UnetLora:
    """A LoRA on every attention and feed-forward layer of a U-Net, whose own weights are frozen."""

    def __init__(self, unet: nn.Module, rank: int, generator: torch.Generator) -> None:
        unet.requires_grad_(False)
        self.layers: dict[str, LowRank] = {}
        for name, module in unet.named_modules():
            if name.endswith(_ENDINGS) and isinstance(module, (nn.Linear, nn.Conv2d)):
                self.layers[name] = LowRank(module.weight, rank, generator)
        for name, layer in self.layers.items():
            parametrize.register_parametrization(unet.get_submodule(name), "weight", layer)

    def parameters(self) -> list[Tensor]:
        """What is trained."""
        return [parameter for layer in self.layers.values() for parameter in layer.parameters()]

    def set_scale(self, scale: float) -> None:
        """How much of it the U-Net has: 0 without, 1 with, below 0 the opposite."""
        for layer in self.layers.values():
            layer.scale = scale

    def save(self, path: Path, metadata: Mapping[str, str]) -> Path:
        """Write it under kohya's names, whole or not at all."""
        tensors: dict[str, Tensor] = {}
        for name, layer in self.layers.items():
            key = "lora_unet_" + name.replace(".", "_")
            tensors |= {
                f"{key}.lora_up.weight": layer.up.detach().half().contiguous(),
                f"{key}.lora_down.weight": layer.down.detach().half().contiguous(),
                f"{key}.alpha": torch.tensor(float(len(layer.down))),
            }
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        save_file(tensors, str(partial), metadata={"ss_network_module": "networks.lora", **metadata})
        return partial.replace(path)
