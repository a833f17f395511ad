"""Number types of a loaded model, its noise schedule, and layers that its file lacks."""

from __future__ import annotations

from typing import Any

import torch

from modules import devices, shared
from modules.shared import opts


def set_number_types(model: Any) -> None:
    """Half precision for all but the VAE, where that is kept full, and never for the noise schedule."""
    alphas_cumprod = model.alphas_cumprod
    if shared.cmd_opts.no_half:
        model.float()
        devices.dtype_unet = torch.float32
    else:
        vae = model.first_stage_model
        if shared.cmd_opts.no_half_vae:
            model.first_stage_model = None
        model.alphas_cumprod = None
        model.half()
        model.alphas_cumprod = alphas_cumprod
        model.first_stage_model = vae
        devices.dtype_unet = torch.float16
    model.alphas_cumprod_original = alphas_cumprod
    devices.unet_needs_upcast = bool(shared.cmd_opts.upcast_sampling and devices.dtype_unet == torch.float16)
    model.first_stage_model.to(devices.dtype_vae)


def rescale_zero_terminal_snr_abar(alphas_cumprod: torch.Tensor) -> torch.Tensor:
    """Moves a schedule so that the last step holds no signal (Lin et al. 2023, "Common diffusion noise schedules ...
    are flawed").
    """
    root = alphas_cumprod.sqrt()
    first, last = root[0].clone(), root[-1].clone()
    rescaled = ((root - last) * (first / (first - last))) ** 2
    rescaled[-1] = 4.8973451890853435e-08
    return rescaled


def apply_alpha_schedule_override(sd_model: Any, p: Any = None) -> None:
    if not hasattr(sd_model, "alphas_cumprod") or not hasattr(sd_model, "alphas_cumprod_original"):
        return
    sd_model.alphas_cumprod = sd_model.alphas_cumprod_original.to(shared.device)
    if opts.use_downcasted_alpha_bar:
        if p is not None:
            p.extra_generation_params["Downcast alphas_cumprod"] = opts.use_downcasted_alpha_bar
        sd_model.alphas_cumprod = sd_model.alphas_cumprod.half().to(shared.device)
    if opts.sd_noise_schedule == "Zero Terminal SNR":
        if p is not None:
            p.extra_generation_params["Noise Schedule"] = opts.sd_noise_schedule
        sd_model.alphas_cumprod = rescale_zero_terminal_snr_abar(sd_model.alphas_cumprod).to(shared.device)


def zero_missing(sd_model: Any, missing_keys: list[str]) -> None:
    """Layers that the file lacks are zeros in a new model, as the host's quick start-up leaves them."""
    missing = set(missing_keys)
    for name, module in sd_model.named_modules():
        if isinstance(module, (torch.nn.Linear, torch.nn.Conv2d, torch.nn.Embedding)):
            for key, parameter in module.named_parameters(prefix=name, recurse=False):
                if key in missing:
                    torch.nn.init.zeros_(parameter)
