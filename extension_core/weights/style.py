"""Carrying a fine-tuned checkpoint's changes over to a distilled model."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch

Value = Callable[[str], "torch.Tensor | None"]


def with_style(distilled: torch.Tensor, loaded: torch.Tensor, origin: torch.Tensor, strength: float) -> torch.Tensor:
    """`distilled + strength * (loaded - origin)`, all [...] of one shape, in float32; whole numbers stay."""
    if not distilled.is_floating_point():
        return distilled
    loaded, origin = (tensor.to(distilled.device, torch.float32) for tensor in (loaded, origin))
    return distilled.float() + strength * (loaded - origin)


def carrying(distilled: Value, loaded: Value, origin: Value, strength: float) -> Value:
    """Values by canonical name; what the origin lacks is the distilled model's own."""

    def value(name: str) -> torch.Tensor | None:
        own, live, before = distilled(name), loaded(name), origin(name)
        if own is None or live is None or before is None:
            return own
        return with_style(own, live, before, strength)

    return value


def with_styles(
    distilled: Mapping[str, torch.Tensor],
    loaded: Mapping[str, torch.Tensor],
    origin: Mapping[str, torch.Tensor],
    strength: float,
) -> dict[str, torch.Tensor]:
    """The same for whole dicts of [...] by name; sums are of the loaded tensor's number type, unless it has 8 bits."""
    result = dict(distilled)
    for name in distilled.keys() & loaded.keys() & origin.keys():
        own, live = distilled[name], loaded[name]
        dtype = live.dtype if live.element_size() > 1 else own.dtype
        result[name] = with_style(own, live, origin[name], strength).to(dtype)
    return result
