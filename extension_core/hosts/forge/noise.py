"""The noise schedule of Forge's live model, computed as the host does and without touching the model."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import torch
from backend.modules.k_prediction import rescale_zero_terminal_snr_sigmas
from modules import sd_models, sd_samplers_kdiffusion, sd_samplers_lcm, shared

from extension_core.errors import DiversityError
from extension_core.hosts.noise import Kind, Noise
from extension_core.sampling.schedule import NoiseSchedule

_ROUNDING = 1e-3


def in_force() -> Noise:
    """The schedule that a request of now samples over.

    The host rescales the predictor's sigmas just before it samples, and so after `process` (modules/processing.py,
    dfdcbab6).

    Raises:
        DiversityError: no checkpoint is loaded, so nobody knows the noise levels.
    """
    predictor = _predictor()
    sigmas = own_sigmas(predictor)
    chosen = shared.opts.sd_noise_schedule == "Zero Terminal SNR"
    if not (chosen or getattr(sd_models.model_data.sd_model.model_config, "ztsnr", False)):
        return _of(predictor, sigmas)
    rescaled = _of(predictor, rescale_zero_terminal_snr_sigmas(sigmas))
    return replace(rescaled, before=_of(predictor, sigmas), keeps=("lcm",))


def live() -> Noise:
    """The schedule that the model has at this moment.

    Raises:
        DiversityError: as above.
    """
    predictor = _predictor()
    return _of(predictor, predictor.sigmas)


def own_sigmas(predictor: Any) -> torch.Tensor:
    """The sigmas [1000] that the model came with, though another request may have rescaled the predictor's for now.

    The host does not put them back where sampling ends in an error (modules/processing.py, dfdcbab6).
    """
    alphas, sigmas = getattr(predictor, "alphas_cumprod", None), predictor.sigmas
    if alphas is None:
        return sigmas
    own = (((1 - alphas) / alphas) ** 0.5).to(sigmas)
    # The alphas are kept in float32, which leaves four digits of the lowest sigma.
    return sigmas if torch.allclose(own, sigmas, rtol=_ROUNDING, atol=0.0) else own


def keep() -> Callable[[], None]:
    """What gives the model the levels back that it has now, where sampling ends in an error."""
    predictor = _predictor()
    kept = dict(predictor.named_buffers(recurse=False))

    def put_back() -> None:
        for name, tensor in kept.items():
            setattr(predictor, name, tensor)

    return put_back


def _predictor() -> Any:
    model = sd_models.model_data.sd_model
    if not hasattr(model, "forge_objects"):
        raise DiversityError("The plan is shown once the checkpoint is loaded, which the next image does.")
    return model.forge_objects.unet.model.predictor


def _of(predictor: Any, sigmas: torch.Tensor) -> Noise:
    schedule = NoiseSchedule(sigmas.detach().double().cpu().numpy())
    return Noise(1.0 / (sigmas**2.0 + 1.0), sigmas, schedule, lambda kind: _wrap(kind, _twin(predictor, sigmas)))


def _wrap(kind: Kind, predictor: Any) -> Any:
    unet = SimpleNamespace(model=SimpleNamespace(predictor=predictor))
    model = SimpleNamespace(forge_objects=SimpleNamespace(unet=unet))
    if kind == "lcm":
        return sd_samplers_lcm.LCMCompVisDenoiser(model)
    own = vars(sd_samplers_kdiffusion.CFGDenoiserKDiffusion)["inner_model"].fget(SimpleNamespace(model_wrap=None))
    linker = type(own)(predictor)
    linker.inner_model = model
    return linker


def _twin(predictor: Any, sigmas: torch.Tensor) -> Any:
    """A predictor with other sigmas; the live one's tensors are shared and none of them is written to."""
    if sigmas is predictor.sigmas or not hasattr(predictor, "set_sigmas"):
        return predictor
    twin = copy.copy(predictor)
    twin._buffers = dict(predictor._buffers)
    twin.set_sigmas(sigmas)
    return twin
