"""A ControlNet (Zhang et al. 2023): the U-Net's encoder once more, fed with a picture, its outputs to be added."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from embedded import networks
from embedded.networks.noise import timestep_embedding

_HINT_WIDTHS = (16, 16, 32, 32, 96, 96, 256)
_HALVED_AT = (2, 4, 6)


def _hint_block(channels: int, width: int) -> nn.Sequential:
    """A picture [B, 3, H, W] to [B, width, H/8, W/8]; activations lie between the convolutions."""
    layers: list[nn.Module] = []
    for index, outputs in enumerate(_HINT_WIDTHS):
        stride = 2 if index in _HALVED_AT else 1
        layers += [nn.Conv2d(channels, outputs, 3, stride=stride, padding=1), nn.SiLU()]
        channels = outputs
    return nn.Sequential(*layers, nn.Conv2d(channels, width, 3, padding=1))


class ControlNet(nn.Module):
    """Built to a U-Net's configuration; key names are the original ControlNets'."""

    def __init__(self, **unet_config: Any) -> None:
        super().__init__()
        encoder = networks.UNetModel(**unet_config)
        self.model_channels = encoder.model_channels
        self.time_embed, self.input_blocks = encoder.time_embed, encoder.input_blocks
        self.middle_block = encoder.middle_block
        self.input_hint_block = _hint_block(3, self.model_channels)
        with torch.no_grad():
            widths = self._widths(unet_config["in_channels"], unet_config["context_dim"])
        self.zero_convs = nn.ModuleList(nn.Sequential(nn.Conv2d(width, width, 1)) for width in widths)
        self.middle_block_out = nn.Sequential(nn.Conv2d(widths[-1], widths[-1], 1))

    def _widths(self, channels: int, context_dim: int) -> list[int]:
        """Channels that leave each block, by trying a picture of the smallest size."""
        h, widths = torch.zeros(1, channels, 8, 8), []
        emb, context = torch.zeros(1, self.model_channels * 4), torch.zeros(1, 1, context_dim)
        for block in self.input_blocks:
            h = block(h, emb, context)
            widths.append(h.shape[1])
        return widths

    @property
    def dtype(self) -> torch.dtype:
        return self.middle_block_out[0].weight.dtype  # type: ignore[return-value]

    def forward(self, x: Tensor, hint: Tensor, timesteps: Tensor, context: Tensor) -> list[Tensor]:
        """What is added to each of the U-Net's skips, in the encoder's order, and to its middle."""
        emb = self.time_embed(timestep_embedding(timesteps, self.model_channels).to(x.dtype))
        guided: Tensor | None = self.input_hint_block(hint)
        outputs, h = [], x
        for block, convolution in zip(self.input_blocks, self.zero_convs, strict=True):
            h = block(h, emb, context)
            if guided is not None:
                h, guided = h + guided, None
            outputs.append(convolution(h))
        return [*outputs, self.middle_block_out(self.middle_block(h, emb, context))]
