"""What a request does with the loaded model, and when: the one part of a generation in which the two hosts differ."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from threading import Thread
from typing import Any

import torch

from modules import devices, extra_networks, sd_models, shared
from modules.sd_hijack import model_hijack
from modules.shared import cmd_opts, opts

HOOKS_BEFORE_HIRES_RESET = False
"""Whether the hires pass calls its hook once more, before the model is made ready for it."""
REFINER_FORGETS_NETWORKS = False
_CHECKPOINT = "sd_model_checkpoint"


def start() -> None:
    """The checkpoint is loaded in the background, and when another one is selected."""
    from modules.call_queue import wrap_queued_call

    opts.onchange(_CHECKPOINT, wrap_queued_call(lambda: sd_models.reload_model_weights()), call=False)
    if not cmd_opts.skip_load_model_at_start:
        Thread(target=lambda: shared.sd_model, daemon=True).start()


def set_config(req: dict[str, Any]) -> None:
    """Settings over the API. RuntimeError for a checkpoint that is not listed."""
    name = req.get(_CHECKPOINT)
    if name is not None and name not in sd_models.checkpoint_aliases:
        raise RuntimeError(f"model {name!r} not found")
    for key, value in req.items():
        opts.set(key, value, is_api=True)
    opts.save(shared.config_filename)


def change_setting(key: str, value: Any) -> bool:
    """A setting on the page; whether it is another."""
    return opts.set(key, value)


@contextlib.contextmanager
def settings_of(p: Any) -> Iterator[None]:
    """The request's own settings, for as long as it runs. What was never saved is not restored, and the checkpoint that
    was selected is read by the next request.
    """
    wanted = p.override_settings
    if wanted.get(_CHECKPOINT) not in sd_models.checkpoint_aliases:
        wanted.pop(_CHECKPOINT, None)
    before = {name: opts.data[name] for name in wanted if name in opts.data}
    try:
        for name, value in wanted.items():
            opts.set(name, value, is_api=True, run_callbacks=False)
        sd_models.reload_model_weights()  # also brings the selected checkpoint back after a Refiner
        yield
    finally:
        if p.override_settings_restore_afterwards:
            for name, value in before.items():
                setattr(opts, name, value)


def begin_request(p: Any) -> None:
    model_hijack.apply_circular(p.tiling)
    model_hijack.comments = []


def inference() -> contextlib.AbstractContextManager[Any]:
    return torch.no_grad()


def begin_batch(p: Any) -> None:
    """Brings the selected checkpoint back where a Refiner took its place."""
    sd_models.reload_model_weights()


def autoencoder_width() -> int:
    return shared.sd_model.first_stage_model.encoder.conv_in.out_channels


def activate_networks(p: Any, data: Any) -> None:
    """The layers take them up when they are called."""
    if not p.disable_extra_networks:
        with devices.autocast():
            extra_networks.activate(p, data)


def comments() -> list[str]:
    return model_hijack.comments


def before_reading() -> None:
    """Clip skip is asked of the settings."""


def leaves_uncond_out(cfg: float) -> bool:
    """The negative prompt is read at every CFG."""
    return False


@contextlib.contextmanager
def sampling(p: Any) -> Iterator[None]:
    """Around `p.sample`."""
    sd_models.apply_alpha_schedule_override(p.sd_model, p)
    with devices.autocast():
        yield


def before_pass(p: Any) -> None:
    """Nothing to make ready."""


def load_for_hires(p: Any) -> None:
    with sd_models.SkipWritingToConfig():
        sd_models.reload_model_weights(info=p.hr_checkpoint_info)


def condition_hires_early(p: Any) -> None:
    """The hires pass's prompts are read when it begins."""


def takes_a_picture(model: Any) -> bool:
    """Whether the U-Net sees a masked picture beside the latent, as inpainting models do."""
    return model.model.conditioning_key == "hybrid"


def refiner_progress(denoiser: Any, sigma: torch.Tensor) -> float:
    """How much of the sampling is done, by the noise level's place among the model's; a timestep sampler's level is a
    timestep. With LCM's 50 levels it says 0.95 at once.
    """
    level, levels = sigma.max(), getattr(denoiser.inner_model, "sigmas", None)
    place = int(level) if levels is None else int((levels.to(level) - level).abs().argmin())
    return (999 - place) / 1000


@contextlib.contextmanager
def exchanged_for_refiner(info: Any, x: torch.Tensor) -> Iterator[None]:
    with sd_models.SkipWritingToConfig():
        sd_models.reload_model_weights(info=info)
    yield


def last_entries() -> dict[str, Any]:
    """What the infotext ends with, beyond what both flavours write."""
    return {}
