"""Number types of a loaded model, its noise schedule, and layers that its file lacks."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch

from modules import devices, shared
from modules.shared import opts


@contextlib.contextmanager
def _taken_out(model: Any, *names: str) -> Iterator[None]:
    """Parts of the model that are absent meanwhile."""
    parts = {name: getattr(model, name) for name in names}
    for name in names:
        setattr(model, name, None)
    try:
        yield
    finally:
        for name, part in parts.items():
            setattr(model, name, part)


def set_number_types(model: Any) -> None:
    """Half precision for all but the VAE, where that is kept full, and never for the noise schedule."""
    schedule = model.alphas_cumprod
    if shared.cmd_opts.no_half:
        model.float()
        devices.dtype_unet = torch.float32
    else:
        kept_full = ["alphas_cumprod", *(["first_stage_model"] if shared.cmd_opts.no_half_vae else [])]
        with _taken_out(model, *kept_full):
            model.half()
        devices.dtype_unet = torch.float16
    model.alphas_cumprod_original = schedule
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
    """The schedule that the settings want, from the file's own; noted on `p` where it differs."""
    if not all(hasattr(sd_model, name) for name in ("alphas_cumprod", "alphas_cumprod_original")):
        return
    schedule, notes = sd_model.alphas_cumprod_original.to(shared.device), {}
    if opts.use_downcasted_alpha_bar:
        notes["Downcast alphas_cumprod"] = opts.use_downcasted_alpha_bar
        schedule = schedule.half().to(shared.device)
    if opts.sd_noise_schedule == "Zero Terminal SNR":
        notes["Noise Schedule"] = opts.sd_noise_schedule
        schedule = rescale_zero_terminal_snr_abar(schedule).to(shared.device)
    sd_model.alphas_cumprod = schedule
    if p is not None:
        p.extra_generation_params.update(notes)


def zero_missing(sd_model: Any, missing_keys: list[str]) -> None:
    """Layers that the file lacks are zeros in a new model, as the host's quick start-up leaves them."""
    missing = set(missing_keys)
    for name, module in sd_model.named_modules():
        if isinstance(module, (torch.nn.Linear, torch.nn.Conv2d, torch.nn.Embedding)):
            for key, parameter in module.named_parameters(prefix=name, recurse=False):
                if key in missing:
                    torch.nn.init.zeros_(parameter)
