"""`<lora:name:weight>`, `<lora:name:text encoder's weight:U-Net's weight>`, or by name: `te=`, `unet=`, `dyn=`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from modules import extra_networks, lora_files, script_callbacks, shared

Loader = Callable[[list[str], list[float], list[float], list[int | None]], list[Any]]


def _read(mention: extra_networks.ExtraNetworkParams) -> tuple[str, float, float, int | None]:
    """Name, the text encoder's and the U-Net's weight, rank; values by name win over those by place."""
    name, *by_place = mention.positional
    given = {**dict(zip(("te", "unet", "dyn"), by_place, strict=False)), **mention.named}
    te = float(given.get("te", 1.0))
    return name, te, float(given.get("unet", te)), int(given["dyn"]) if "dyn" in given else None


class LoraMentions(extra_networks.ExtraNetwork):
    """`load` makes the mentioned networks the wanted ones and returns those that were found."""

    def __init__(self, load: Loader) -> None:
        super().__init__("lora")
        self.load = load
        self.errors: dict[str, int] = {}
        """Layers, by network, whose shapes did not fit."""

    def activate(self, p: Any, params_list: list[extra_networks.ExtraNetworkParams]) -> None:
        self.errors.clear()
        read = [_read(mention) for mention in params_list]
        loaded = self.load(*([mention[i] for mention in read] for i in range(4)))  # type: ignore[arg-type]
        if not shared.opts.lora_add_hashes_to_infotext:
            return
        hashes = getattr(p, "lora_hashes", {}) if getattr(p, "is_hr_pass", False) else {}
        for net in loaded:
            if net.mentioned_name and net.network_on_disk.shorthash:
                hashes[net.mentioned_name.replace(":", "").replace(",", "")] = net.network_on_disk.shorthash
        p.lora_hashes = hashes
        if hashes:
            p.extra_generation_params["Lora hashes"] = ", ".join(f"{name}: {value}" for name, value in hashes.items())

    def deactivate(self, p: Any) -> None:
        if self.errors:
            counts = ", ".join(f"{name} ({count})" for name, count in self.errors.items())
            p.comment(f"Layers that a LoRA does not fit: {counts}")
            self.errors.clear()


def register(networks: Any) -> None:
    """On every execution of a loader's script; `networks` is its module."""

    def load(*mentions: Any) -> list[Any]:
        networks.load_networks(*mentions)
        return networks.loaded_networks

    def before_ui() -> None:
        networks.extra_network_lora = LoraMentions(load)
        extra_networks.register_extra_network(networks.extra_network_lora)

    script_callbacks.on_before_ui(before_ui)
    script_callbacks.on_app_started(lora_files.api_networks)
    lora_files.add_settings()
