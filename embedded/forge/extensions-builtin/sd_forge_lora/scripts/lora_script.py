"""Registers the LoRA loader, on every execution."""

from __future__ import annotations

import extra_networks_lora
import networks
from modules import extra_networks, lora_settings, script_callbacks


def before_ui() -> None:
    networks.extra_network_lora = extra_networks_lora.ExtraNetworkLora()
    extra_networks.register_extra_network(networks.extra_network_lora)


script_callbacks.on_before_ui(before_ui)
script_callbacks.on_app_started(lora_settings.api_networks)
lora_settings.register()
