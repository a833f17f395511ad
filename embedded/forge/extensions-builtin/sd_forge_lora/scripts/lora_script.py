"""Registers the LoRA loader, on every execution."""

from __future__ import annotations

import networks
from modules import lora_mentions

lora_mentions.register(networks)
