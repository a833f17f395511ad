"""What --lowvram and --medvram forbid to other threads. Nothing is moved."""

from __future__ import annotations

from typing import Any

from modules import shared
from modules.shared import cmd_opts


def is_enabled(sd_model: Any) -> bool:
    return bool(sd_model.lowvram)


def is_needed(sd_model: Any) -> bool:
    """SDXL's models alone have a `conditioner`."""
    return cmd_opts.lowvram or cmd_opts.medvram or (cmd_opts.medvram_sdxl and hasattr(sd_model, "conditioner"))


def apply(sd_model: Any) -> None:
    """At every loading: whether previews and the like may use the model's device beside sampling."""
    sd_model.lowvram = bool(is_needed(sd_model))
    shared.parallel_processing_allowed = not sd_model.lowvram


def setup_for_low_vram(sd_model: Any, use_medvram: bool) -> None: ...


def send_everything_to_cpu() -> None: ...
