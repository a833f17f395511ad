"""Class-level patches of torch's layers: before a layer runs its weight is brought up to date, or, by the setting
`lora_functional`, left as it is and the networks run beside it; reading weights forgets its bookkeeping.
"""

from __future__ import annotations

from typing import Any

import networks
import torch
from modules import shared

_ATTENTION = torch.nn.MultiheadAttention
_LAYERS: Any = (torch.nn.Linear, torch.nn.Conv2d, torch.nn.GroupNorm, torch.nn.LayerNorm, _ATTENTION)


class LoraPatches:
    """What was there before is put back by `undo`."""

    def __init__(self) -> None:
        self._before = [(kind, kind.forward, kind._load_from_state_dict) for kind in _LAYERS]
        for before in self._before:
            self._patch(*before)

    def _patch(self, kind: Any, forward: Any, load: Any) -> None:
        """Attention over several heads is always merged, as on the host."""

        def up_to_date(layer: Any, *args: Any, **kwargs: Any) -> Any:
            if shared.opts.lora_functional and kind is not _ATTENTION:
                return networks.network_forward(layer, args[0], forward)
            networks.network_apply_weights(layer)
            return forward(layer, *args, **kwargs)

        def forgetting(layer: Any, *args: Any, **kwargs: Any) -> Any:
            networks.network_reset_cached_weight(layer)
            return load(layer, *args, **kwargs)

        kind.forward, kind._load_from_state_dict = up_to_date, forgetting

    def undo(self) -> None:
        for kind, forward, load in self._before:
            kind.forward, kind._load_from_state_dict = forward, load
