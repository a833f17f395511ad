"""What the settings say of the model that is loaded next."""

from __future__ import annotations

from typing import Any

dynamic_args: dict[str, Any] = {}
"""Once a checkpoint was chosen: `forge_unet_storage_dtype` and `online_lora`."""
