"""Class-level patches of torch's layers: before a layer runs its weight is brought up to date, or, by the setting
`lora_functional`, left as it is and the networks run beside it; reading weights forgets its bookkeeping.
"""

from __future__ import annotations

from typing import Any

import networks
import torch
from modules import shared

_LAYERS: tuple[type[Any], ...] = (
    torch.nn.Linear,
    torch.nn.Conv2d,
    torch.nn.GroupNorm,
    torch.nn.LayerNorm,
    torch.nn.MultiheadAttention,
)


def _patched_forward(original: Any, kind: type[Any]) -> Any:
    """Attention over several heads is always merged, as on the host."""

    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        if shared.opts.lora_functional and kind is not torch.nn.MultiheadAttention:
            return networks.network_forward(self, args[0], original)
        networks.network_apply_weights(self)
        return original(self, *args, **kwargs)

    return forward


def _patched_load(original: Any) -> Any:
    def load(self: Any, *args: Any, **kwargs: Any) -> Any:
        networks.network_reset_cached_weight(self)
        return original(self, *args, **kwargs)

    return load


class LoraPatches:
    """`<Layer>_forward` and `<Layer>_load_state_dict` hold what was there before."""

    def __init__(self) -> None:
        self._kept: list[tuple[type[Any], Any, Any]] = []
        for layer in _LAYERS:
            forward, load = layer.forward, layer._load_from_state_dict
            self._kept.append((layer, forward, load))
            setattr(self, f"{layer.__name__}_forward", forward)
            setattr(self, f"{layer.__name__}_load_state_dict", load)
            layer.forward = _patched_forward(forward, layer)
            layer._load_from_state_dict = _patched_load(load)

    def undo(self) -> None:
        for layer, forward, load in self._kept:
            layer.forward = forward
            layer._load_from_state_dict = load
        self._kept = []
