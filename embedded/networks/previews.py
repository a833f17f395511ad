"""Small decoders of latents for previews, with the key names of their published files."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_SLOPE = 0.1


class SoftClamp(nn.Module):
    """Keeps latents within -3..3 smoothly."""

    def forward(self, x: Tensor) -> Tensor:
        return 3 * torch.tanh(x / 3)


class Block(nn.Module):
    """Three convolutions beside a straight way."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(_conv(width, width), nn.ReLU(), _conv(width, width), nn.ReLU(), _conv(width, width))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.conv(x) + x)


def taesd_decoder(latent_channels: int = 4, width: int = 64) -> nn.Sequential:
    """TAESD's decoder (github.com/madebyollin/taesd; 64 wide): [B, C, h, w] to pictures [B, 3, 8 h, 8 w] in 0..1."""
    layers: list[nn.Module] = [SoftClamp(), _conv(latent_channels, width), nn.ReLU()]
    for _ in range(3):
        layers += [Block(width), Block(width), Block(width), nn.Upsample(scale_factor=2), _conv(width, width, False)]
    return nn.Sequential(*layers, Block(width), _conv(width, 3))


def taesd_decoder_of(state: dict[str, Tensor]) -> nn.Sequential:
    """The decoder whose tensors these are, as wide as they are. KeyError or RuntimeError for others."""
    width, latent_channels = state["1.weight"].shape[:2]
    decoder = taesd_decoder(latent_channels, width)
    decoder.load_state_dict(state)
    return decoder.eval().requires_grad_(False)


class VAEApprox(nn.Module):
    """The hosts' "Approx NN": [B, C, h, w] to pictures [B, 3, 2 h, 2 w] in about -1..1."""

    widths = (8, 16, 32, 64, 32, 16, 8, 3)
    kernels = (7, 5, 3, 3, 3, 3, 3, 3)

    def __init__(self, latent_channels: int = 4) -> None:
        super().__init__()
        inputs = (latent_channels, *self.widths)
        for index, (given, made, kernel) in enumerate(zip(inputs, self.widths, self.kernels), 1):
            self.add_module(f"conv{index}", nn.Conv2d(given, made, kernel))

    def forward(self, x: Tensor) -> Tensor:
        x = F.interpolate(x, (2 * x.shape[2], 2 * x.shape[3]))
        x = F.pad(x, [sum(kernel // 2 for kernel in self.kernels)] * 4)
        for layer in self.children():
            x = F.leaky_relu(layer(x), _SLOPE)
        return x


def _conv(given: int, made: int, bias: bool = True) -> nn.Conv2d:
    return nn.Conv2d(given, made, 3, padding=1, bias=bias)
