"""Registers the LoRA loader, on every execution."""

from __future__ import annotations

import lora_patches
import networks
from modules import lora_mentions, script_callbacks

networks.originals = lora_patches.LoraPatches()
script_callbacks.on_model_loaded(networks.assign_network_names_to_compvis_modules)
script_callbacks.on_script_unloaded(networks.originals.undo)
lora_mentions.register(networks)
