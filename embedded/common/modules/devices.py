"""Devices and number types, and the check for NaNs. `rng` adds its functions here, as extensions call them from this
module.
"""

from __future__ import annotations

import contextlib
import gc
from typing import Any

import torch

cpu: torch.device = torch.device("cpu")
device: torch.device = cpu
device_interrogate = device_gfpgan = device_esrgan = device_codeformer = cpu
fp8 = False
force_fp16 = False
dtype: torch.dtype = torch.float32
dtype_vae: torch.dtype = torch.float32
dtype_unet: torch.dtype = torch.float32
dtype_inference: torch.dtype = torch.float32
unet_needs_upcast = False


def has_mps() -> bool:
    return False


def has_xpu() -> bool:
    return False


def get_optimal_device_name() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def get_optimal_device() -> torch.device:
    return torch.device(get_optimal_device_name())


def get_device_for(task: str) -> torch.device:
    from modules import shared

    return cpu if task in shared.cmd_opts.use_cpu or "all" in shared.cmd_opts.use_cpu else get_optimal_device()


def torch_gc() -> None:
    if torch.cuda.is_available():
        gc.collect()
        torch.cuda.empty_cache()


def cond_cast_unet(x: torch.Tensor) -> torch.Tensor:
    return x.to(dtype_unet) if unet_needs_upcast else x


def cond_cast_float(x: torch.Tensor) -> torch.Tensor:
    return x.float() if unet_needs_upcast else x


def autocast(disable: bool = False) -> contextlib.AbstractContextManager[Any]:
    if disable or dtype == torch.float32 or dtype_inference == torch.float32:
        return contextlib.nullcontext()
    return torch.autocast("cuda")


def without_autocast(disable: bool = False) -> contextlib.AbstractContextManager[Any]:
    if torch.is_autocast_enabled() and not disable:
        return torch.autocast("cuda", enabled=False)
    return contextlib.nullcontext()


class NansException(Exception):
    """The U-Net or the VAE returned NaNs."""


def test_for_nans(x: torch.Tensor, where: str) -> None:
    """Raises NansException where the first number of `x` is NaN; the host looks at no other."""
    from modules import shared

    if shared.cmd_opts.disable_nan_check or not torch.isnan(x[(0,) * len(x.shape)]):
        return
    message = {
        "unet": "A tensor with NaNs was produced in Unet.",
        "vae": "A tensor with NaNs was produced in VAE.",
    }.get(where, "A tensor with NaNs was produced.")
    raise NansException(message + " Use --disable-nan-check commandline argument to disable this check.")


def first_time_calculation() -> None:
    """Nothing to warm up on a CPU; on a GPU the first layer call loads the libraries."""
    if device.type != "cpu":
        torch.nn.Linear(1, 1).to(device, dtype)(torch.zeros((1, 1)).to(device, dtype))
