"""The distilled model's own reading of the prompt, made by the host's own functions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from extension_core.weights.second_model import SecondModel

# What StableDiffusionProcessing.setup_conds writes (modules/processing.py, 1.10.1), and the caches it reads.
_RESULTS = ("c", "uc", "hr_c", "hr_uc", "step_multiplier", "firstpass_steps")
_CACHES = ("cached_c", "cached_uc", "cached_hr_c", "cached_hr_uc")


def own_conds(p: Any, second: SecondModel) -> tuple[Any, Any] | None:
    """(cond, uncond) of the current pass by the second model's text encoder, None if it has none of its own."""
    if second.text is None:
        return None
    with second.own_text_encoder(), _own_caches(p, second):
        p.setup_conds()
        return p.get_conds()


@contextmanager
def _own_caches(p: Any, second: SecondModel) -> Iterator[None]:
    """The host's caches do not know of a second text encoder, so it gets its own; results are put back after."""
    names = [name for name in _RESULTS + _CACHES if hasattr(p, name)]
    before = {name: getattr(p, name) for name in names}
    for name in _CACHES:
        if name in before:
            setattr(p, name, second.cond_caches.setdefault(name, [None, None]))
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(p, name, value)
