"""DMD2's critic: a small head on what the fake score's U-Net holds in its middle."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from extension_core.training.denoiser import Conditioning, Network

_GROUPS = 32


class _Reached(Exception):
    """The middle of the U-Net has been computed; its second half is of no use here."""

    def __init__(self, middle: Tensor) -> None:
        super().__init__()
        self.middle = middle


class CriticHead(nn.Module):
    """From the middle of a U-Net [B, C, h, w] to one logit a row [B].

    Args:
        channels: C, a multiple of 32.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.GroupNorm(_GROUPS, channels),
            nn.SiLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.GroupNorm(_GROUPS, channels),
            nn.SiLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(channels, 1),
        )

    def forward(self, middle: Tensor) -> Tensor:
        return self.layers(middle.float())[:, 0]


class MiddleCritic:
    """A `Critic` (methods/matching.py) over the U-Net that a network runs.

    Args:
        network: runs `unet`.
        unet: with diffusers' `mid_block`.
    """

    def __init__(self, network: Network, unet: nn.Module, head: CriticHead) -> None:
        self._network, self._unet, self._head = network, unet, head

    def __call__(self, z: Tensor, timesteps: Tensor, conditioning: Conditioning) -> Tensor:
        hook = self._unet.get_submodule("mid_block").register_forward_hook(_stop_here)
        try:
            self._network(z, timesteps, conditioning)
        except _Reached as reached:
            with torch.autocast(z.device.type, enabled=False):
                return self._head(reached.middle)
        finally:
            hook.remove()
        raise RuntimeError("the network does not run the U-Net's mid_block")


def _stop_here(_module: nn.Module, _inputs: tuple[Any, ...], middle: Tensor) -> None:
    raise _Reached(middle)
