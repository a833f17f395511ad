"""Registers the LoRA loader, on every execution."""

from __future__ import annotations

from typing import Any

import networks
from modules import extra_networks, lora_files, script_callbacks
from modules.lora_mentions import LoraMentions


def load(*mentions: Any) -> list[Any]:
    networks.load_networks(*mentions)
    return networks.loaded_networks


script_callbacks.on_before_ui(lambda: extra_networks.register_extra_network(LoraMentions(load)))
script_callbacks.on_app_started(lora_files.api_networks)
lora_files.add_settings()
