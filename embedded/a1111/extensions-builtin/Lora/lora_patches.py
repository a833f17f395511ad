"""Class-level patches of torch's layers: before a layer runs its weight is brought up to date, or, by the setting
`lora_functional`, left as it is and the networks run beside it; reading weights forgets its bookkeeping.
"""

from __future__ import annotations

from typing import Any

import networks
import torch
from modules import shared

_LAYERS: tuple[type[Any], ...] = (
    *(torch.nn.Linear, torch.nn.Conv2d, torch.nn.GroupNorm, torch.nn.LayerNorm),
    torch.nn.MultiheadAttention,
)


def _up_to_date(forward: Any, kind: type[Any]) -> Any:
    """Attention over several heads is always merged, as on the host."""

    def patched(self: Any, *args: Any, **kwargs: Any) -> Any:
        if shared.opts.lora_functional and kind is not torch.nn.MultiheadAttention:
            return networks.network_forward(self, args[0], forward)
        networks.network_apply_weights(self)
        return forward(self, *args, **kwargs)

    return patched


def _forgetting(load: Any) -> Any:
    def patched(self: Any, *args: Any, **kwargs: Any) -> Any:
        networks.network_reset_cached_weight(self)
        return load(self, *args, **kwargs)

    return patched


class LoraPatches:
    """What was there before is put back by `undo`."""

    def __init__(self) -> None:
        self._before = [(kind, kind.forward, kind._load_from_state_dict) for kind in _LAYERS]
        for kind, forward, load in self._before:
            kind.forward, kind._load_from_state_dict = _up_to_date(forward, kind), _forgetting(load)

    def undo(self) -> None:
        for kind, forward, load in self._before:
            kind.forward, kind._load_from_state_dict = forward, load
