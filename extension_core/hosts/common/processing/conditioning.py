"""A second reading of the prompt by the host's own functions, beside its caches and results."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# What StableDiffusionProcessing.setup_conds writes (modules/processing.py of both hosts), and the caches it reads.
_RESULTS = ("c", "uc", "hr_c", "hr_uc", "step_multiplier", "firstpass_steps")
_CACHES = ("cached_c", "cached_uc", "cached_hr_c", "cached_hr_uc")


@contextmanager
def own_caches(p: Any, caches: dict[str, list[Any]]) -> Iterator[None]:
    """The host's caches do not know of a second text encoder, so it gets its own; results are put back after."""
    before = {name: getattr(p, name) for name in _RESULTS if hasattr(p, name)}
    try:
        with other_caches(p, caches):
            yield
    finally:
        for name, value in before.items():
            setattr(p, name, value)


@contextmanager
def other_caches(p: Any, caches: dict[str, list[Any]]) -> Iterator[None]:
    """Caches instead of the host's; results stay.

    The host hands out what its cache holds, and extensions write to that: ControlNet marks positive and negative
    prompts in it, and then empties the host's caches, of which it knows. So these keep a copy.
    """
    before = {name: getattr(p, name) for name in _CACHES if hasattr(p, name)}
    for name in before:
        setattr(p, name, caches.setdefault(name, [None, None]))
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(p, name, value)
        for cache in caches.values():
            cache[1] = copy.deepcopy(cache[1])
