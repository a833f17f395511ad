"""CFG 1 without the unconditional half, which A1111 computes at CFG 1 too."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from modules import shared

_ALWAYS = float("inf")
_OPTION = "skip_early_cond"
_INFOTEXT_KEY = "Skip Early CFG"


def needs_no_uncond(denoiser: Any, cond: Any, cfg: float) -> bool:
    """Whether the result at this CFG is the conditional prediction alone.

    Not so with AND (the parts are added to the unconditional one), with an edit model, or where the sampler itself
    uses the unconditional prediction (DDIM CFG++).
    """
    return (
        cfg == 1.0
        and denoiser.cond_scale_miltiplier == 1.0
        and not denoiser.need_last_noise_uncond
        and getattr(shared.sd_model, "cond_stage_key", None) != "edit"
        and all(len(parts) == 1 and parts[0].weight == 1.0 for parts in cond.batch)
    )


@contextmanager
def without_uncond(p: Any) -> Iterator[None]:
    """Let the host skip the unconditional half by its own option for one call (CFGDenoiser.forward, 1.10.1).

    The option and the host's note about it in the infotext are put back.
    """
    data, notes = shared.opts.data, p.extra_generation_params
    missing = object()
    option, note = data.get(_OPTION, missing), notes.get(_INFOTEXT_KEY, missing)
    data[_OPTION] = _ALWAYS
    try:
        yield
    finally:
        for mapping, key, value in ((data, _OPTION, option), (notes, _INFOTEXT_KEY, note)):
            if value is missing:
                mapping.pop(key, None)
            else:
                mapping[key] = value
