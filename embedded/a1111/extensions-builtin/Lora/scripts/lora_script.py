"""Registers the LoRA loader, on every execution."""

from __future__ import annotations

import extra_networks_lora
import lora_patches
import networks
from modules import extra_networks, lora_settings, script_callbacks


def unload() -> None:
    networks.originals.undo()


def before_ui() -> None:
    loader = networks.extra_network_lora = extra_networks_lora.ExtraNetworkLora()
    extra_networks.register_extra_network(loader)
    extra_networks.register_extra_network_alias(loader, "lyco")


networks.originals = lora_patches.LoraPatches()
script_callbacks.on_model_loaded(networks.assign_network_names_to_compvis_modules)
script_callbacks.on_script_unloaded(unload)
script_callbacks.on_before_ui(before_ui)
script_callbacks.on_app_started(lora_settings.api_networks)
lora_settings.register()
