"""The networks that a request's prompts name, before the host has activated any."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from modules import extra_networks

from extension_core.hosts.common.files import choices

# The tags that the hosts' loader of LoRAs answers to (extensions-builtin/Lora/scripts/lora_script.py, 1.10.1).
_TAGS = ("lora", "lyco")


def files_in_prompts(p: Any) -> set[Path]:
    """Files of the LoRAs that the prompts of all passes name; what the host does not know is left out."""
    known = getattr(choices.networks(), "available_network_aliases", {})
    prompts = dict.fromkeys([*(p.all_prompts or ()), *(getattr(p, "all_hr_prompts", None) or ())])
    named = [
        network.items[0]
        for prompt in prompts
        for tag, networks in extra_networks.parse_prompt(prompt)[1].items()
        if tag in _TAGS
        for network in networks
        if network.items
    ]
    return {Path(known[name].filename) for name in named if name in known}
