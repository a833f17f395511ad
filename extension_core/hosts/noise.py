"""The noise levels that a request samples over, told without a sampler and without touching the model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch

from extension_core.sampling.schedule import NoiseSchedule

# Of the two inner models of the hosts' denoisers over sigmas; the LCM sampler's knows 50 levels.
Kind = Literal["lcm", "other"]
# Two float32 computations of one schedule differ by less, half precision rounds by more.
_SAME = 1e-5


@dataclass(frozen=True, eq=False)
class Noise:
    """One noise schedule as the host computes it.

    Attributes:
        alphas_cumprod: [T], descending, in the host's precision and where it has them.
        sigmas: [T], ascending, likewise.
        schedule: the same for plans.
        wrap: makes what a sampler's denoiser asks for levels (`model_wrap`), of this schedule and without a model.
        before: the schedule that the model has until this one comes into force, None if that is the same.
        keeps: the kinds of inner model that keep the levels of the moment in which they were made.
    """

    alphas_cumprod: torch.Tensor
    sigmas: torch.Tensor
    schedule: NoiseSchedule
    wrap: Callable[[Kind], Any]
    before: Noise | None = None
    keeps: tuple[Kind, ...] = ()

    def wrap_for(self, p: Any, kind: Kind) -> Any:
        """`wrap` as a request's sampler has it: in img2img hosts make that in `p.init`, before the schedule comes into
        force (modules/processing.py, 1.10.1).
        """
        made_before = kind in self.keeps and not hasattr(p, "enable_hr")
        return (self.before or self).wrap(kind) if made_before else self.wrap(kind)

    def nearest_timestep(self, sigma: torch.Tensor, quantize: bool | None = None) -> torch.Tensor:
        """The trained timestep nearest to each sigma [n], in place of the LCM sampler's, which knows 50 of them alone.

        Args:
            quantize: as k-diffusion's `sigma_to_t` has it; there is nothing between two timesteps here.
        """
        del quantize
        distances = (sigma.log() - self.sigmas.to(sigma).log()[:, None]).abs()
        return distances.argmin(dim=0).view(sigma.shape)

    def is_same(self, other: Noise) -> bool:
        """Whether both schedules have the same levels."""
        return same_levels(self.sigmas, other.sigmas)


def same_levels(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether two lists of sigmas [n] are the same but for rounding in float32."""
    if one.shape != other.shape:
        return False
    return torch.allclose(one.detach().double().cpu(), other.detach().double().cpu(), rtol=_SAME, atol=0.0)
