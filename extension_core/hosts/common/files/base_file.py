"""What the loaded checkpoint's file says of itself that hosts do not ask it."""

from __future__ import annotations

import functools
from contextlib import suppress
from pathlib import Path

from modules import script_callbacks, shared

from extension_core.errors import DiversityError
from extension_core.weights.compatibility import other_levels
from extension_core.weights.reader import read_header


def check_levels() -> None:
    """Refuse a base with noise levels of its own, which both hosts sample as any other.

    A1111 knows no such models (modules/sd_models_config.py, 1.10.1); Forge tells CosXL and then leaves it its
    scheduler's prediction (`prediction_types` in backend/loader.py, dfdcbab6).

    Raises:
        DiversityError: says which model it is.
    """
    info = shared.sd_model.sd_checkpoint_info
    if what := _other_levels(info.filename):
        raise DiversityError(
            f"The loaded checkpoint '{info.name}' is {what}, for which no distilled model is made; load another "
            "checkpoint."
        )


def watch_model_changes() -> None:
    """Look at a file again when the host loads it again. Call on every execution of the script."""
    script_callbacks.on_model_loaded(lambda _model: _other_levels.cache_clear())


@functools.lru_cache(maxsize=4)
def _other_levels(filename: str) -> str:
    """Asked once while a model is loaded: that counts, whatever has become of its file since."""
    path = Path(filename)
    if path.suffix.lower() == ".safetensors":  # a pickle would be read whole
        with suppress(DiversityError):
            return other_levels(read_header(path).shapes)
    return ""
