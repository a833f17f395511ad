"""The LoRA files that there are, by name and by what they call themselves; and how a loader of them is registered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import safetensors

from modules import errors, hashes, options, shared


def _metadata(filename: str) -> dict[str, str]:
    """A file without any, or that cannot be read, is listed all the same."""
    if not filename.lower().endswith(".safetensors"):
        return {}
    try:
        with safetensors.safe_open(filename, framework="pt") as file:  # pyright: ignore[reportGeneralTypeIssues]
            return file.metadata() or {}
    except Exception as fault:
        errors.display(fault, f"the metadata of {filename}")
        return {}


class NetworkOnDisk:
    def __init__(self, name: str, filename: str) -> None:
        self.name, self.filename = name, filename
        self.metadata = hashes.once("metadata", name, filename, lambda: _metadata(filename))
        self.alias: str = self.metadata.get("ss_output_name", name)
        known = hashes.sha256_from_cache(filename, f"lora/{name}", self._of_tensors())
        self.hash: str = self.metadata.get("sshs_model_hash") or known or ""

    def _of_tensors(self) -> bool:
        return self.filename.lower().endswith(".safetensors")

    @property
    def shorthash(self) -> str:
        return self.hash[:12]

    def read_hash(self) -> None:
        self.hash = self.hash or hashes.sha256(self.filename, f"lora/{self.name}", self._of_tensors())


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
    for file in shared.walk_files(str(folder), allowed_extensions=[".pt", ".ckpt", ".safetensors"]):
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
    settings = {"lora_add_hashes_to_infotext": True, "lora_functional": False, "lora_in_memory_limit": 0}
    shared.opts.data_labels.update({name: options.OptionInfo(value, name) for name, value in settings.items()})
