"""What samplers ask of the loaded model."""

from __future__ import annotations

import contextlib
from typing import Any

import torch
from k_diffusion import external

from modules import shared


def k_denoiser() -> Any:
    """The loaded model as k-diffusion's samplers see it: from noise levels to x0."""
    kinds = {"eps": external.CompVisDenoiser, "v": external.CompVisVDenoiser}
    return kinds[shared.sd_model.parameterization](shared.sd_model, quantize=shared.opts.enable_quantization)


def alphas_cumprod(model: Any) -> torch.Tensor:
    return model.alphas_cumprod


def running(model_wrap: Any, x: torch.Tensor) -> contextlib.AbstractContextManager[None]:
    """Around one run of a sampler; the model is where it has to be already."""
    return contextlib.nullcontext()
