"""The LoRA files that there are, by name and by what they call themselves; and how a loader of them is registered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from modules import hashes, sd_checkpoints, shared

_ENDINGS = [".pt", ".ckpt", ".safetensors"]


class NetworkOnDisk:
    def __init__(self, name: str, filename: str) -> None:
        self.name, self.filename = name, filename
        self.is_safetensors = filename.lower().endswith(".safetensors")
        self.metadata = sd_checkpoints.cached_metadata("lora", name, filename)
        self.alias: str = self.metadata.get("ss_output_name", name)
        known = hashes.sha256_from_cache(filename, f"lora/{name}", use_addnet_hash=self.is_safetensors)
        self.hash: str = self.metadata.get("sshs_model_hash") or known or ""

    @property
    def shorthash(self) -> str:
        return self.hash[:12]

    def read_hash(self) -> None:
        addnet = self.is_safetensors
        self.hash = self.hash or hashes.sha256(self.filename, f"lora/{self.name}", use_addnet_hash=addnet) or ""


available_networks: dict[str, NetworkOnDisk] = {}
available_network_aliases: dict[str, NetworkOnDisk] = {}
forbidden_network_aliases: dict[str, int] = {}


def on_disk_of(name: str) -> NetworkOnDisk | None:
    known = available_networks if name.lower() in forbidden_network_aliases else available_network_aliases
    return known.get(name)


def list_available_networks() -> None:
    """An alias that several files claim is no name for any of them."""
    for table in (available_networks, available_network_aliases, forbidden_network_aliases):
        table.clear()
    folder = Path(shared.cmd_opts.lora_dir)
    folder.mkdir(parents=True, exist_ok=True)
    for file in shared.walk_files(str(folder), allowed_extensions=_ENDINGS):
        entry = NetworkOnDisk(Path(file).stem, file)
        if entry.alias in available_network_aliases:
            forbidden_network_aliases[entry.alias.lower()] = 1
        available_networks[entry.name] = entry
        available_network_aliases.update({entry.name: entry, entry.alias: entry})


def api_networks(_: Any, app: Any) -> None:
    @app.get("/sdapi/v1/loras")
    async def get_loras() -> list[dict[str, Any]]:
        attributes = {"name": "name", "alias": "alias", "path": "filename", "metadata": "metadata"}
        found = available_networks.values()
        return [{key: getattr(entry, name) for key, name in attributes.items()} for entry in found]

    @app.post("/sdapi/v1/refresh-loras")
    async def refresh_loras() -> None:
        list_available_networks()


def add_settings() -> None:
    """On every execution of a loader's script."""
    hashed = shared.OptionInfo(True, "Name the LoRA files by their hashes in the infotext")
    at_calls = shared.OptionInfo(False, "Apply LoRAs at every call of a layer (slower)")
    kept = shared.OptionInfo(0, "How many LoRAs stay in memory for later requests", gr.Number, {"precision": 0})
    settings = {"lora_add_hashes_to_infotext": hashed, "lora_functional": at_calls, "lora_in_memory_limit": kept}
    shared.options_templates.update(shared.options_section(("extra_networks", "Extra Networks"), settings))
