"""Which of the denoiser's calls made a step's frame: samplers call it once to three times a step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from extension_core.hosts.protocols import Predicted


def behind_the_mask(denoiser: Any, x0: torch.Tensor) -> torch.Tensor:
    """A prediction [B, C, H, W] with the original where the mask keeps it, as the image will be."""
    return x0 if denoiser.mask is None else x0 * denoiser.nmask + denoiser.init_latent * denoiser.mask


@dataclass(frozen=True, eq=False)
class Call:
    """One call of the denoiser.

    Attributes:
        x: what it was given, [B, C, H, W].
        level: the noise level in the sampler's unit.
        result: what it returned: x0, or eps where the sampler wants that.
        cfg: the scale it was guided with.
        phase: which of two models made it, "" where a single one runs.
        model: its name.
    """

    x: torch.Tensor
    level: float
    result: torch.Tensor
    predicted: Predicted
    cfg: float
    phase: str
    model: str


class SigmaCalls:
    """Of samplers over sigmas (k-diffusion's and their like): a step's frame is known at its callback.

    The call whose result the callback shows; second and third evaluations within a step drop out so. DPM fast and
    adaptive show a tensor of their own (k_diffusion/sampling.py): the call at the level that the callback names, else
    the first since the last callback. A rejected attempt of DPM adaptive calls back too, with the same x again.
    """

    def __init__(self) -> None:
        self._calls: list[Call] = []
        self._frame: tuple[float, int] | None = None

    def called(self, call: Call) -> Call | None:
        """A call has been made; returns it if it is a frame already, which here none is."""
        self._calls.append(call)

    def stepped(self, state: Mapping[str, Any]) -> Call | None:
        """The sampler calls back; returns the call that made this step's frame, None if it is the last one again."""
        calls, self._calls = self._calls, []
        frame = _shown(calls, state)
        if frame is None or self._frame == (frame.level, id(frame.x)):
            return None
        self._frame = (frame.level, id(frame.x))
        self._x = frame.x  # kept, so that its id stays its own
        return frame


class TimestepCalls:
    """Of DDIM, PLMS and UniPC, whose callbacks show no call's result: every call is a frame at once.

    But PLMS's second, a correction of its first (modules/sd_samplers_timesteps_impl.py, 1.10.1).
    """

    def __init__(self, corrects_its_first: bool) -> None:
        self._left_out = 2 if corrects_its_first else 0
        self._nth = 0

    def called(self, call: Call) -> Call | None:
        """As `SigmaCalls`."""
        self._nth += 1
        return None if self._nth == self._left_out else call

    def stepped(self, state: Mapping[str, Any]) -> None:
        """Nothing: the frame was known before."""


def _shown(calls: list[Call], state: Mapping[str, Any]) -> Call | None:
    shown = [call for call in calls if call.result is state.get("denoised")]
    if shown:
        return shown[-1]
    level = state.get("sigma_hat")
    at_level = [call for call in calls if level is not None and call.level == float(level)]
    return (at_level or calls[:1] or [None])[-1]
