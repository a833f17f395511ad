"""Devices and number types, and the check for NaNs."""

from __future__ import annotations

import contextlib
import gc
from typing import Any

import torch

cpu: torch.device = torch.device("cpu")
device: torch.device = cpu
fp8 = False
dtype: torch.dtype = torch.float32
dtype_vae: torch.dtype = torch.float32
dtype_inference: torch.dtype = torch.float32


def torch_gc() -> None:
    """Give memory of the graphics card back that nothing uses."""
    if device.type == "cuda":
        gc.collect()
        torch.cuda.empty_cache()


def autocast(disable: bool = False) -> contextlib.AbstractContextManager[Any]:
    """Half precision where the weights have it; nothing on a CPU."""
    whole = disable or torch.float32 in (dtype, dtype_inference)
    return contextlib.nullcontext() if whole else torch.autocast(device.type)


def without_autocast(disable: bool = False) -> contextlib.AbstractContextManager[Any]:
    ends = torch.is_autocast_enabled() and not disable
    return torch.autocast(device.type, enabled=False) if ends else contextlib.nullcontext()


class NansException(Exception):
    """The U-Net or the VAE returned NaNs."""


def test_for_nans(x: torch.Tensor, where: str) -> None:
    """NansException where the first number of `x` is NaN; the hosts look at no other. `where`: "unet" or "vae"."""
    from modules import shared

    if not shared.cmd_opts.disable_nan_check and bool(x.flatten()[0].isnan()):
        raise NansException(f"The first number of what the {where} returned is NaN (--disable-nan-check lets it pass)")
