"""The LoRA loader's settings and routes, the same on both hosts."""

from __future__ import annotations

from typing import Any

import gradio as gr

from modules import shared
from modules.lora_files import available_networks, list_available_networks


def api_networks(_: Any, app: Any) -> None:
    @app.get("/sdapi/v1/loras")
    async def get_loras() -> list[dict[str, Any]]:
        found = available_networks.values()
        return [{"name": x.name, "alias": x.alias, "path": x.filename, "metadata": x.metadata} for x in found]

    @app.post("/sdapi/v1/refresh-loras")
    async def refresh_loras() -> None:
        list_available_networks()


def register() -> None:
    """On every execution of the loader's script."""
    shared.options_templates.update(
        shared.options_section(
            ("extra_networks", "Extra Networks"),
            {
                "sd_lora": shared.OptionInfo(
                    "None",
                    "A LoRA that belongs to every prompt",
                    gr.Dropdown,
                    lambda: {"choices": ["None", *available_networks]},
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
