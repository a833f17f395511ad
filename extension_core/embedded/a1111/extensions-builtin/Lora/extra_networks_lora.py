"""`<lora:name:weight>`, `<lora:name:text encoder's weight:U-Net's weight>`, or by name: `te=`, `unet=`, `dyn=`."""

from __future__ import annotations

from typing import Any

from modules import extra_networks, shared


class ExtraNetworkLora(extra_networks.ExtraNetwork):
    def __init__(self) -> None:
        super().__init__("lora")
        self.errors: dict[str, int] = {}
        """Layers, by network, whose shapes did not fit."""

    remove_symbols = str.maketrans("", "", ":,")

    def activate(self, p: Any, params_list: list[extra_networks.ExtraNetworkParams]) -> None:
        import networks

        self.errors.clear()
        names, te_multipliers, unet_multipliers, dyn_dims = [], [], [], []
        for params in params_list:
            assert params.items
            positional, named = params.positional, params.named
            te = float(named.get("te", positional[1] if len(positional) > 1 else 1.0))
            unet = float(named.get("unet", positional[2] if len(positional) > 2 else te))
            dyn = named.get("dyn", positional[3] if len(positional) > 3 else None)
            names.append(positional[0])
            te_multipliers.append(te)
            unet_multipliers.append(unet)
            dyn_dims.append(None if dyn is None else int(dyn))
        networks.load_networks(names, te_multipliers, unet_multipliers, dyn_dims)
        if shared.opts.lora_add_hashes_to_infotext:
            self._note_hashes(p, networks.loaded_networks)

    def _note_hashes(self, p: Any, loaded: list[Any]) -> None:
        if not getattr(p, "is_hr_pass", False) or not hasattr(p, "lora_hashes"):
            p.lora_hashes = {}
        for item in loaded:
            if item.network_on_disk.shorthash and item.mentioned_name:
                p.lora_hashes[item.mentioned_name.translate(self.remove_symbols)] = item.network_on_disk.shorthash
        if p.lora_hashes:
            p.extra_generation_params["Lora hashes"] = ", ".join(f"{k}: {v}" for k, v in p.lora_hashes.items())

    def deactivate(self, p: Any) -> None:
        if self.errors:
            p.comment("Networks with errors: " + ", ".join(f"{k} ({v})" for k, v in self.errors.items()))
            self.errors.clear()
