"""The distilled model's own reading of the prompt, by the host's text encoder with the distilled model's weights."""

from __future__ import annotations

from typing import Any

from extension_core.hosts.common.processing.conditioning import own_caches
from extension_core.weights.second_model import SecondModel


def own_conds(p: Any, second: SecondModel, lora_factor: float) -> tuple[Any, Any] | None:
    """(cond, uncond) of the current pass by the second model's text encoder, None if it has none of its own."""
    if second.text is None:
        return None
    with second.own_text_encoder(), own_caches(p, second.cond_caches.of(lora_factor)):
        p.setup_conds()
        return p.get_conds()
