"""Cells of the host's X/Y/Z plot: the values of our axes, and what is seen where a cell is refused.

The plot runs each cell as a shallow copy of its request, prints what a cell raises and leaves its place black. So a
refused cell is a picture of its sentence instead, and a plot of which every cell is refused is refused itself.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from extension_core.hosts.common.processing import infotext_entries
from extension_core.hosts.common.processing.scripts import is_plot
from extension_core.hosts.common.processing.takeover import TakeOver
from extension_core.hosts.refusal import RequestRefused
from extension_core.measures.captions import card

_VALUES = "diversity_distillation_axes"
_SWEEP = "diversity_distillation_sweep"


@dataclass
class Sweep:
    """What all cells of one plot share."""

    owner: weakref.ref[Any]
    refused: RequestRefused | None = None
    made: int = 0

    def check(self) -> None:
        """Refuse what had no cell at all.

        Raises:
            RequestRefused: of the first cell.
        """
        if self.refused is not None and not self.made:
            raise RequestRefused(self.refused.detail)


class _Decoded(list[torch.Tensor]):
    """Pictures [3, H, W] in -1..1 that the hosts take for decoded ones (modules/processing.py, 1.10.1)."""

    already_decoded = True


def set_value(p: Any, name: str, value: Any) -> None:
    """An axis's value for one cell; copies of a request share what it holds, so it gets a dict of its own."""
    setattr(p, _VALUES, {**values_of(p), name: value})


def values_of(p: Any) -> Mapping[str, Any]:
    """The values of our axes for a cell, by the options' names; empty for any other request."""
    return vars(p).get(_VALUES, {})


def begin(p: Any) -> None:
    """If a request is a plot's, know its cells as such; the host closes it when they are done, and not the cells."""
    if not is_plot(p):
        return
    sweep, close = Sweep(weakref.ref(p)), p.close

    def closing() -> None:
        close()
        sweep.check()

    setattr(p, _SWEEP, sweep)
    p.close = closing


def watch(p: Any, taken: TakeOver) -> None:
    """Show a refusal of this request in its cell, if it is one."""
    sweep: Sweep | None = vars(p).get(_SWEEP)
    if sweep is not None and sweep.owner() is not p and not taken.inner:
        taken.layer("sample", functools.partial(_shown, p, sweep))


def _shown(p: Any, sweep: Sweep, sample: Callable[..., Any]) -> Callable[..., Any]:
    def shown(*args: Any, **kwargs: Any) -> Any:
        try:
            result = sample(*args, **kwargs)
        except RequestRefused as refused:
            sweep.refused = sweep.refused or refused
            p.do_not_save_samples = True
            p.comment(str(refused))
            infotext_entries.tell(p, {infotext_entries.REFUSED: str(refused)})
            return _cards(p, str(refused))
        sweep.made += 1
        return result

    return shown


def _cards(p: Any, sentence: str) -> _Decoded:
    pixels = torch.from_numpy(np.asarray(card(sentence, *_size(p)), np.float32) / 127.5 - 1)
    return _Decoded([pixels.permute(2, 0, 1)] * len(p.prompts))


def _size(p: Any) -> tuple[int, int]:
    if getattr(p, "enable_hr", False) and p.hr_upscale_to_x and p.hr_upscale_to_y:
        return p.hr_upscale_to_x, p.hr_upscale_to_y
    return p.width, p.height
