"""What samplers ask of the loaded model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import k_diffusion.external
import torch

from modules import shared


def k_denoiser() -> Any:
    """The loaded model as k-diffusion's samplers see it: from noise levels to x0."""
    make = getattr(shared.sd_model, "create_denoiser", None)
    if make is not None:
        return make()
    v = shared.sd_model.parameterization == "v"
    wrap = k_diffusion.external.CompVisVDenoiser if v else k_diffusion.external.CompVisDenoiser
    return wrap(shared.sd_model, quantize=shared.opts.enable_quantization)


def alphas_cumprod(model: Any) -> torch.Tensor:
    return model.alphas_cumprod


def conditioning_key() -> str:
    return getattr(shared.sd_model.model, "conditioning_key", "crossattn")


@contextmanager
def running(model_wrap: Any, x: torch.Tensor) -> Iterator[None]:
    """Around one run of a sampler; the model is where it has to be already."""
    del model_wrap, x
    yield
