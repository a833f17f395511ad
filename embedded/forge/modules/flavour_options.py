"""Settings of this host beyond what both flavours have."""

from __future__ import annotations

from typing import Any

import gradio as gr

from modules.options import OptionInfo, options_section


def register_options(options_templates: dict[str, Any]) -> None:
    hidden = {
        "forge_unet_storage_dtype": OptionInfo("Automatic"),
        "forge_inference_memory": OptionInfo(1024),
        "forge_async_loading": OptionInfo("Queue"),
        "forge_pin_shared_memory": OptionInfo("CPU"),
        "forge_preset": OptionInfo("sd"),
        "forge_additional_modules": OptionInfo([]),
    }
    options_templates.update(options_section((None, "Forge Hidden options"), hidden))
    modes = {"choices": ["Alpha", "None"]}
    stealth = {"stealth_pnginfo_option": OptionInfo("Alpha", "Infotext hidden in PNG files", gr.Radio, modes)}
    options_templates.update(options_section(("infotext", "Infotext", "ui"), stealth))
