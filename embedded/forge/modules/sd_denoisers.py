"""What samplers ask of the loaded model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from backend.sampling.sampling_function import sampling_cleanup, sampling_prepare
from k_diffusion.sampling import append_zero

from modules import shared


class ForgeScheduleLinker(torch.nn.Module):
    """The predictor's levels under the names of k-diffusion's wrappers. It is asked for levels alone; `inner_model` is
    the engine, whose U-Net is looked up at each step.
    """

    inner_model: Any

    def __init__(self, predictor: Any) -> None:
        super().__init__()
        self.predictor = predictor

    sigmas = property(lambda self: self.predictor.sigmas)
    log_sigmas = property(lambda self: self.predictor.log_sigmas)
    sigma_min = property(lambda self: self.predictor.sigma_min)
    sigma_max = property(lambda self: self.predictor.sigma_max)

    def get_sigmas(self, n: int | None = None) -> torch.Tensor:
        if n is None:
            return append_zero(self.sigmas.flip(0))
        return append_zero(self.t_to_sigma(torch.linspace(len(self.sigmas) - 1, 0, n)))

    def sigma_to_t(self, sigma: torch.Tensor, quantize: bool | None = None) -> torch.Tensor:
        del quantize
        return self.predictor.timestep(sigma)

    def t_to_sigma(self, t: torch.Tensor) -> torch.Tensor:
        return self.predictor.sigma(t)


def k_denoiser() -> ForgeScheduleLinker:
    linker = ForgeScheduleLinker(shared.sd_model.forge_objects.unet.model.predictor)
    linker.inner_model = shared.sd_model
    return linker


def alphas_cumprod(model: Any) -> torch.Tensor:
    return 1.0 / (model.forge_objects.unet.model.predictor.sigmas**2.0 + 1.0)


@contextmanager
def running(model_wrap: Any, x: torch.Tensor) -> Iterator[None]:
    """Around one run of a sampler: the U-Net in use is loaded, and afterwards told that this is over (not after an
    exception, as on the host).
    """
    unet = model_wrap.inner_model.forge_objects.unet
    sampling_prepare(unet, x=x)
    yield
    sampling_cleanup(unet)
