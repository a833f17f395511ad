"""Lists that settings offer as choices, asked of their owners when the page is built."""

from __future__ import annotations

from typing import Any


def list_checkpoint_tiles(use_short: bool = False) -> list[str]:
    from modules import sd_models

    return sd_models.checkpoint_tiles(use_short)


def refresh_checkpoints() -> None:
    from modules import sd_models

    sd_models.list_models()


def sd_vae_items() -> list[str]:
    from modules import sd_vae

    return ["Automatic", "None", *sd_vae.vae_dict]


def refresh_vae_list() -> None:
    from modules import sd_vae

    sd_vae.refresh_vae_list()


def sd_unet_items() -> list[str]:
    return ["Automatic", "None"]


def list_samplers() -> list[Any]:
    from modules import sd_samplers

    return sd_samplers.all_samplers


def upscaler_names() -> list[str]:
    from modules import shared

    return [x.name for x in shared.sd_upscalers]


def get_infotext_names() -> list[str]:
    from modules import infotext_utils, shared

    names = {info.infotext for info in shared.opts.data_labels.values() if info.infotext}
    for tab in infotext_utils.paste_fields.values():
        names |= {name for _, name in tab["fields"] or [] if isinstance(name, str)}
    return sorted(names)
