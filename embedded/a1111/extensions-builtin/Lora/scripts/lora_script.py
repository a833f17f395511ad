"""Registers the LoRA loader, on every execution."""

from __future__ import annotations

from typing import Any

import lora_patches
import networks
from modules import extra_networks, lora_files, script_callbacks
from modules.lora_mentions import LoraMentions


def load(*mentions: Any) -> list[Any]:
    networks.load_networks(*mentions)
    return networks.loaded_networks


def before_ui() -> None:
    networks.extra_network_lora = LoraMentions(load)
    extra_networks.register_extra_network(networks.extra_network_lora)


networks.originals = lora_patches.LoraPatches()
script_callbacks.on_model_loaded(networks.assign_network_names_to_compvis_modules)
script_callbacks.on_script_unloaded(networks.originals.undo)
script_callbacks.on_before_ui(before_ui)
script_callbacks.on_app_started(lora_files.api_networks)
lora_files.add_settings()
