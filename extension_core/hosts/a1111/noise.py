"""The noise schedule of A1111's live model, computed as the host does and without touching the model."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import k_diffusion.external
import torch
from modules import sd_models, sd_samplers_lcm, shared

from extension_core.errors import DiversityError
from extension_core.hosts.noise import Kind, Noise
from extension_core.sampling.schedule import NoiseSchedule


def in_force() -> Noise:
    """The schedule that a request of now samples over, Stable Diffusion's if no model is loaded yet.

    The host makes it from the file's own just before it samples, by the settings of that moment, and so after
    `process` (`apply_alpha_schedule_override` in modules/sd_models.py, 1.10.1).
    """
    model = sd_models.model_data.sd_model
    original = getattr(model, "alphas_cumprod_original", None)
    if original is None:
        return live()
    alphas = original.to(shared.device)
    if shared.opts.use_downcasted_alpha_bar:
        alphas = alphas.half().to(shared.device)
    if shared.opts.sd_noise_schedule == "Zero Terminal SNR":
        alphas = sd_models.rescale_zero_terminal_snr_abar(alphas).to(shared.device)
    return replace(_of(alphas), before=live(), keeps=("lcm", "other"))


def live() -> Noise:
    """The schedule that the model has at this moment."""
    alphas = getattr(sd_models.model_data.sd_model, "alphas_cumprod", None)
    if alphas is not None:
        return _of(alphas)
    schedule = NoiseSchedule.stable_diffusion()
    sigmas = torch.tensor(schedule.sigmas)
    return Noise(1.0 / (sigmas**2 + 1.0), sigmas, schedule, _nothing_loaded)


def _of(alphas: torch.Tensor) -> Noise:
    sigmas = ((1 - alphas) / alphas) ** 0.5  # as k_diffusion.external, in the same precision
    schedule = NoiseSchedule.from_alphas_cumprod(alphas.detach().float().cpu().numpy())

    def wrap(kind: Kind) -> Any:
        if kind == "lcm":
            device = sd_models.model_data.sd_model.device
            return sd_samplers_lcm.LCMCompVisDenoiser(SimpleNamespace(alphas_cumprod=alphas, device=device))
        return k_diffusion.external.DiscreteSchedule(sigmas, shared.opts.enable_quantization)

    return Noise(alphas, sigmas, schedule, wrap)


def _nothing_loaded(_kind: Kind) -> Any:
    """Nobody knows the noise levels, and to ask the host for its model would load one.

    Raises:
        DiversityError: always.
    """
    raise DiversityError("The plan is shown once a checkpoint is loaded.")
