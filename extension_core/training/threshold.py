"""Reflected diffusion in its discrete form: predicted images are kept in the range that encoded data has.

Static and dynamic thresholding are discretisations of a reflected process (arXiv 2304.04740). A latent has no natural
cube, so its range is measured, per channel, on the data that the training encodes anyway.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Edge = Literal["clip", "reflect"]
"""At the edge of the range a value stays there, or goes back by as much as it was beyond."""

Kind = Literal["none", "static", "dynamic"]


def reflect(x: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Values x [B, ...] folded into [low, high] by mirrors at both ends; low and high broadcast against x."""
    width = high - low
    folded = (x - low).remainder(2 * width)
    return low + torch.where(folded > width, 2 * width - folded, folded)


@dataclass(frozen=True)
class LatentRange:
    """What lies between two quantiles of every channel.

    Args:
        low: [C], in scaled latents (the U-Net's own units).
        high: [C].
    """

    low: Tensor
    high: Tensor

    @classmethod
    def of(cls, latents: Tensor, quantile: float = 0.999) -> LatentRange:
        """Of latents [n, C, ...]: all but 1 - `quantile` of the values of each channel, half of it at each end.

        Raises:
            ValueError: no latents, or a quantile outside of 0.5 to 1.
        """
        if not 0.5 < quantile <= 1 or not latents.numel():
            raise ValueError(f"The range of {len(latents)} latents at quantile {quantile} is not defined.")
        values = latents.transpose(0, 1).flatten(1).double()
        outside = (1 - quantile) / 2
        # torch.quantile takes at most 16 million values; sorting takes any number.
        ordered = values.sort(dim=1).values
        last = ordered.shape[1] - 1
        low, high = ordered[:, round(outside * last)], ordered[:, round((1 - outside) * last)]
        return cls(low.to(latents.dtype), high.to(latents.dtype))

    def edges(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Both ends, each [1, C, 1, ...] for x [B, C, ...]."""
        shape = (1, -1, *[1] * (x.ndim - 2))
        return self.low.to(x).view(shape), self.high.to(x).view(shape)


@dataclass(frozen=True)
class StaticThreshold:
    """The measured range, for every image alike."""

    range: LatentRange
    edge: Edge = "clip"

    def __call__(self, x0: Tensor) -> Tensor:
        """x0 [B, C, ...] within the range."""
        low, high = self.range.edges(x0)
        return reflect(x0, low, high) if self.edge == "reflect" else x0.clamp(low, high)


@dataclass(frozen=True)
class DynamicThreshold:
    """An image that leaves the range is drawn towards its middle until all but a few values fit (arXiv 2205.11487).

    Args:
        quantile: part of an image's values that has to fit.
    """

    range: LatentRange
    quantile: float = 0.995

    def __call__(self, x0: Tensor) -> Tensor:
        """x0 [B, C, ...] within the range; an image that fits is unchanged."""
        low, high = self.range.edges(x0)
        middle, reach = (low + high) / 2, (high - low) / 2
        unit = (x0 - middle) / reach
        size = unit.detach().abs().flatten(1).float().quantile(self.quantile, dim=1).clamp(min=1).to(x0)
        size = size.view(-1, *[1] * (x0.ndim - 1))
        return middle + reach * (unit.clamp(-size, size) / size)


def threshold(kind: Kind, latents: LatentRange, edge: Edge = "clip") -> StaticThreshold | DynamicThreshold | None:
    """The threshold that a configuration names."""
    if kind == "none":
        return None
    return StaticThreshold(latents, edge) if kind == "static" else DynamicThreshold(latents)
