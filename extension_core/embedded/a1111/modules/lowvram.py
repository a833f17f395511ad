"""Moving parts of the model to the graphics card on demand is not part of this host; the questions extensions ask are
answered.
"""

from __future__ import annotations

from typing import Any


def is_enabled(sd_model: Any) -> bool:
    return bool(getattr(sd_model, "lowvram", False))


def is_needed(sd_model: Any) -> bool:
    del sd_model
    return False


def apply(sd_model: Any) -> None:
    sd_model.lowvram = is_needed(sd_model)


def send_everything_to_cpu() -> None:
    return None


def setup_for_low_vram(sd_model: Any, use_medvram: bool) -> None:
    del use_medvram
    sd_model.lowvram = False
