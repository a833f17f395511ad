"""Where this host's X/Y/Z plot differs from the other's: its axes, and how it changes checkpoints."""

from __future__ import annotations

from typing import Any

from modules import sd_models, sd_vae

GUIDANCE_FIELDS: tuple[tuple[str, str], ...] = ()
"""Numbers that are axes behind the CFG scale: label and field of the request."""


def choose_checkpoint(p: Any, info: Any) -> None:
    """For one cell."""
    p.override_settings["sd_model_checkpoint"] = info.name


def restore_models() -> None:
    """When the plot ends, whatever ended it."""
    sd_models.reload_model_weights()
    sd_vae.reload_vae_weights()
