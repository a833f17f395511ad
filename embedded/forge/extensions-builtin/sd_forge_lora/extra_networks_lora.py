"""What prompts mention becomes what the loader holds."""

from __future__ import annotations

from typing import Any

from modules.lora_mentions import LoraMentions


class ExtraNetworkLora(LoraMentions):
    def load(self, names: list[str], te: list[float], unet: list[float], ranks: list[Any]) -> list[Any]:
        import networks

        networks.load_networks(names, te, unet, ranks)
        return networks.loaded_networks
