"""CFG 1 without the unconditional half, which A1111 computes at CFG 1 too.

The host's own options for that (`skip_early_cond` among them) are the process's: every settings save and every other
request sees them. What is set here is `forward` of the inner model that belongs to one sampler's denoiser alone
(`CFGDenoiser.inner_model`, modules/sd_samplers_cfg_denoiser.py, 1.10.1), for one call of that denoiser.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from modules import shared

from extension_core.hosts.common.processing.attributes import during

# What the host's denoiser puts beside the text: of a picture, and of one that a vision model has read.
_OF_PICTURES = ("c_concat", "c_adm")


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


def around(denoiser: Any, cond: Any, cfg: float) -> AbstractContextManager[None]:
    """Around one call of the denoiser: its inner model gets rows that fit, and none that the result does not need."""
    images = len(cond.batch) if needs_no_uncond(denoiser, cond, cfg) else None
    inner = denoiser.inner_model
    return during(inner, forward=_Rows(inner.forward, images))


def leaves_uncond_out(denoiser: Any) -> bool:
    """Whether the call that this denoiser is in computes no unconditional half because of `around`."""
    forward = vars(denoiser.inner_model).get("forward")
    return isinstance(forward, _Rows) and forward.left_out


class _Rows:
    """The inner model's `forward` for one call of the denoiser.

    The denoiser asks for 2B rows: B of the prompt, then B of the negative prompt, in one call or in several. Of the
    latter none is computed; each gets its image's conditional prediction, as where the host leaves them out itself, and
    `combine_denoised` then adds a difference of 0 to it. Whatever does not look like that is computed as it is.

    Args:
        forward: what was there, perhaps another extension's.
        images: B, or None where every row is needed.
    """

    def __init__(self, forward: Callable[..., torch.Tensor], images: int | None) -> None:
        self._forward, self._images = forward, images
        self._asked = 0
        self._made: list[torch.Tensor] = []
        self.left_out = False

    def __call__(self, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        """A prediction for each row of x [n, C, h, w]."""
        kwargs = {name: _fitting(value, len(x)) for name, value in kwargs.items()}
        first, self._asked = self._asked, self._asked + len(x)
        if self._images is None or self._asked > 2 * self._images:
            return self._forward(x, *args, **kwargs)
        kept = min(max(self._images - first, 0), len(x))
        if kept == len(x):
            self._made.append(self._forward(x, *args, **kwargs))
            return self._made[-1]
        if kept > 0:
            try:
                parts = _first_rows([args, kwargs], len(x), kept)
            except _OtherRowsError:
                self._images = None
                return self._forward(x, *args, **kwargs)
            self._made.append(self._forward(x[:kept], *parts[0], **parts[1]))
        self.left_out = True
        made = torch.cat(self._made)
        copied = made[first + kept - self._images : first + len(x) - self._images]
        return torch.cat([self._made[-1], copied]) if kept else copied


class _OtherRowsError(Exception):
    """A tensor among the conditioning has not one row for each of x."""


def _first_rows(value: Any, rows: int, kept: int) -> Any:
    """The first rows of every tensor in an argument of the inner model, which has as many as x has."""
    if isinstance(value, torch.Tensor) and value.ndim:
        if len(value) != rows:
            raise _OtherRowsError
        return value[:kept]
    if isinstance(value, dict):
        return {name: _first_rows(part, rows, kept) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_first_rows(part, rows, kept) for part in value)
    return value


def _fitting(cond: Any, rows: int) -> Any:
    """Conditioning without the pictures' rows that x has not: the host's own skips cut x, and forget those."""
    if not isinstance(cond, dict):
        return cond
    return {name: _cut(part, rows) if name in _OF_PICTURES else part for name, part in cond.items()}


def _cut(part: Any, rows: int) -> Any:
    if isinstance(part, list):
        return [_cut(tensor, rows) for tensor in part]
    return part[:rows] if isinstance(part, torch.Tensor) else part
