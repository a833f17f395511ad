"""The LoRA files that there are, by name and by what they call themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from modules import cache, errors, hashes, sd_models, shared


class NetworkOnDisk:
    def __init__(self, name: str, filename: str) -> None:
        self.name = name
        self.filename = filename
        self.metadata: dict[str, Any] = {}
        self.is_safetensors = Path(filename).suffix.lower() == ".safetensors"
        if self.is_safetensors:
            try:
                read = sd_models.read_metadata_from_safetensors
                self.metadata = (
                    cache.cached_data_for_file("safetensors-metadata", "lora/" + name, filename, lambda: read(filename))
                    or {}
                )
            except Exception as e:  # listed all the same; loading it will fail
                errors.display(e, f"reading lora {filename}")
        self.alias: str = self.metadata.get("ss_output_name", name)
        self.hash = ""
        self.shorthash = ""
        known = hashes.sha256_from_cache(filename, "lora/" + name, use_addnet_hash=self.is_safetensors)
        self.set_hash(self.metadata.get("sshs_model_hash") or known or "")

    def set_hash(self, v: str) -> None:
        self.hash = v
        self.shorthash = v[:12]

    def read_hash(self) -> None:
        if not self.hash:
            self.set_hash(hashes.sha256(self.filename, "lora/" + self.name, use_addnet_hash=self.is_safetensors) or "")


available_networks: dict[str, NetworkOnDisk] = {}
available_network_aliases: dict[str, NetworkOnDisk] = {}
forbidden_network_aliases: dict[str, int] = {}


def on_disk_of(name: str) -> NetworkOnDisk | None:
    table = available_networks if name.lower() in forbidden_network_aliases else available_network_aliases
    return table.get(name)


def _register(entry: NetworkOnDisk) -> None:
    """By its name and by its alias; an alias that several files claim is no name for any of them."""
    available_networks[entry.name] = entry
    if entry.alias in available_network_aliases:
        forbidden_network_aliases[entry.alias.lower()] = 1
    available_network_aliases.update({entry.name: entry, entry.alias: entry})


def process_network_files(names: list[str] | None = None) -> None:
    for file in shared.walk_files(shared.cmd_opts.lora_dir, allowed_extensions=[".pt", ".ckpt", ".safetensors"]):
        name = Path(file).stem
        if names and name not in names:
            continue
        try:
            _register(NetworkOnDisk(name, file))
        except OSError:
            errors.report(f"{file} cannot be read and is not listed", exc_info=True)


def list_available_networks() -> None:
    for table in (available_networks, available_network_aliases, forbidden_network_aliases):
        table.clear()
    forbidden_network_aliases.update(dict.fromkeys(("none", "Addams"), 1))
    Path(shared.cmd_opts.lora_dir).mkdir(parents=True, exist_ok=True)
    process_network_files()
