"""`<lora:name:weight>`, `<lora:name:text encoder's weight:U-Net's weight>`, or by name: `te=`, `unet=`, `dyn=`."""

from __future__ import annotations

from typing import Any

from modules import extra_networks, shared


def _parse(params: extra_networks.ExtraNetworkParams) -> tuple[str, float, float, int | None]:
    """Name, the text encoder's and the U-Net's weight, rank; values by name win over those by place."""
    name, *by_place = params.positional
    given: dict[str, Any] = dict(zip(("te", "unet", "dyn"), by_place, strict=False)) | params.named
    te = float(given.get("te", 1.0))
    unet = float(given.get("unet", te))
    rank = given.get("dyn")
    return name, te, unet, None if rank is None else int(rank)


class LoraMentions(extra_networks.ExtraNetwork):
    def __init__(self) -> None:
        super().__init__("lora")
        self.errors: dict[str, int] = {}
        """Layers, by network, whose shapes did not fit."""

    remove_symbols = str.maketrans("", "", ":,")

    def activate(self, p: Any, params_list: list[extra_networks.ExtraNetworkParams]) -> None:
        self.errors.clear()
        mentions = [_parse(params) for params in params_list]
        columns = [list(column) for column in zip(*mentions, strict=True)] or [[], [], [], []]
        loaded = self.load(*columns)
        if shared.opts.lora_add_hashes_to_infotext:
            self._note_hashes(p, loaded)

    def load(self, names: list[str], te: list[float], unet: list[float], ranks: list[Any]) -> list[Any]:
        """Makes these the wanted networks; returns those that were found."""
        raise NotImplementedError

    def _note_hashes(self, p: Any, loaded: list[Any]) -> None:
        """By the prompt's names; the hires pass adds its own to those of the first."""
        kept = getattr(p, "lora_hashes", {}) if getattr(p, "is_hr_pass", False) else {}
        named = [(net.mentioned_name, net.network_on_disk.shorthash) for net in loaded]
        kept.update({name.translate(self.remove_symbols): short for name, short in named if name and short})
        p.lora_hashes = kept
        if kept:
            p.extra_generation_params["Lora hashes"] = ", ".join(map(": ".join, kept.items()))

    def deactivate(self, p: Any) -> None:
        if not self.errors:
            return
        counts = ", ".join(f"{name} ({count})" for name, count in self.errors.items())
        p.comment(f"Layers that a LoRA does not fit: {counts}")
        self.errors.clear()
