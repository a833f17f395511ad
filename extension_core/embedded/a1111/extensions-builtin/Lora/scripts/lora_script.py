"""Registers the LoRA loader, on every execution."""

from __future__ import annotations

from typing import Any

import extra_networks_lora
import gradio as gr
import lora_patches
import networks
from modules import extra_networks, script_callbacks, shared


def unload() -> None:
    networks.originals.undo()


def before_ui() -> None:
    loader = networks.extra_network_lora = extra_networks_lora.ExtraNetworkLora()
    extra_networks.register_extra_network(loader)
    extra_networks.register_extra_network_alias(loader, "lyco")


def api_networks(_: Any, app: Any) -> None:
    @app.get("/sdapi/v1/loras")
    async def get_loras() -> list[dict[str, Any]]:
        found = networks.available_networks.values()
        return [{"name": x.name, "alias": x.alias, "path": x.filename, "metadata": x.metadata} for x in found]

    @app.post("/sdapi/v1/refresh-loras")
    async def refresh_loras() -> None:
        networks.list_available_networks()


networks.originals = lora_patches.LoraPatches()
script_callbacks.on_model_loaded(networks.assign_network_names_to_compvis_modules)
script_callbacks.on_script_unloaded(unload)
script_callbacks.on_before_ui(before_ui)
script_callbacks.on_app_started(api_networks)

shared.options_templates.update(
    shared.options_section(
        ("extra_networks", "Extra Networks"),
        {
            "sd_lora": shared.OptionInfo(
                "None",
                "A LoRA that belongs to every prompt",
                gr.Dropdown,
                lambda: {"choices": ["None", *networks.available_networks]},
            ),
            "lora_preferred_name": shared.OptionInfo("Alias from file", "What a LoRA is called in the prompt"),
            "lora_add_hashes_to_infotext": shared.OptionInfo(
                True, "Name the LoRA files by their hashes in the infotext"
            ),
            "lora_in_memory_limit": shared.OptionInfo(
                0, "How many LoRAs stay in memory for later requests", gr.Number, {"precision": 0}
            ),
            "lora_functional": shared.OptionInfo(False, "Apply LoRAs at every call of a layer (slower)"),
        },
    )
)
