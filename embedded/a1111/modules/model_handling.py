"""What a request does with the loaded model, and when: the one part of a generation in which the two hosts differ."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from threading import Thread
from typing import Any

import torch

from modules import devices, extra_networks, sd_models, sd_unet, sd_vae, shared
from modules.sd_hijack import model_hijack
from modules.shared import cmd_opts, opts

_CHECKPOINT, _VAE = "sd_model_checkpoint", "sd_vae"


def watch_settings() -> None:
    from modules.call_queue import wrap_queued_call

    opts.onchange(_CHECKPOINT, wrap_queued_call(lambda: sd_models.reload_model_weights()), call=False)
    opts.onchange(_VAE, wrap_queued_call(lambda: sd_vae.reload_vae_weights()), call=False)


def start() -> None:
    """At the start, in the background."""
    if not cmd_opts.skip_load_model_at_start:
        Thread(target=lambda: shared.sd_model, daemon=True).start()


def _apply_overrides(p: Any) -> None:
    """Settles the checkpoint, then the request's settings. Also brings the selected checkpoint back after a Refiner."""
    overrides = p.override_settings
    if sd_models.checkpoint_aliases.get(overrides.get(_CHECKPOINT)) is None:
        overrides.pop(_CHECKPOINT, None)
        sd_models.reload_model_weights()
    for name, wanted in overrides.items():
        opts.set(name, wanted, is_api=True, run_callbacks=False)
        if name == _CHECKPOINT:
            sd_models.reload_model_weights()
        elif name == _VAE:
            sd_vae.reload_vae_weights()


def _restore(settings: dict[str, Any]) -> None:
    """The checkpoint that was selected is read by the next request, not here."""
    for name, value in settings.items():
        setattr(opts, name, value)
        if name == _VAE:
            sd_vae.reload_vae_weights()


@contextlib.contextmanager
def settings_of(p: Any) -> Iterator[None]:
    """The request's own settings, for as long as it runs. What was never saved is not restored."""
    before = {name: opts.data[name] for name in p.override_settings if name in opts.data}
    try:
        _apply_overrides(p)
        sd_models.apply_token_merging(p.sd_model, p.get_token_merging_ratio())
        yield
    finally:
        sd_models.apply_token_merging(p.sd_model, 0)
        if p.override_settings_restore_afterwards:
            _restore(before)


def begin_request(p: Any) -> None:
    model_hijack.apply_circular(p.tiling)
    model_hijack.clear_comments()
    if not p.do_not_reload_embeddings and os.path.exists(cmd_opts.embeddings_dir):
        model_hijack.embedding_db.load_textual_inversion_embeddings()


@contextlib.contextmanager
def inference(p: Any) -> Iterator[None]:
    with torch.no_grad(), p.sd_model.ema_scope():
        yield


def after_init() -> None:
    sd_unet.apply_unet()


def begin_batch(p: Any) -> None:
    """Brings the selected checkpoint back where a Refiner took its place."""
    del p
    sd_models.reload_model_weights()


def latent_channels() -> int:
    return getattr(shared.sd_model, "latent_channels", 4)


def activate_networks(p: Any, data: Any) -> None:
    if not p.disable_extra_networks:
        with devices.autocast():
            extra_networks.activate(p, data)


def after_networks(p: Any) -> None:
    """The layers take the networks up when they are called."""


def comment(text: str) -> None:
    model_hijack.comments.append(text)


def comments() -> list[str]:
    return model_hijack.comments


def notes() -> dict[str, Any]:
    return model_hijack.extra_generation_params


def conditioned(encode: Callable[[], Any], cache: list[Any]) -> Any:
    del cache
    return encode()


def recall_notes(cache: list[Any]) -> None:
    """What the text encoder noted is not kept with its result."""


def leaves_uncond_out(cfg: float) -> bool:
    """The negative prompt is read at every CFG."""
    del cfg
    return False


@contextlib.contextmanager
def sampling(p: Any) -> Iterator[None]:
    """Around `p.sample`."""
    sd_models.apply_alpha_schedule_override(p.sd_model, p)
    precision = devices.without_autocast if devices.unet_needs_upcast else devices.autocast
    with precision():
        yield


def before_pass(p: Any, for_hr: bool = False) -> None:
    if for_hr:
        sd_models.apply_token_merging(p.sd_model, p.get_token_merging_ratio(for_hr=True))


def after_hires_pass(p: Any) -> None:
    sd_models.apply_token_merging(p.sd_model, p.get_token_merging_ratio())


def pass_noise(p: Any, noise: torch.Tensor) -> torch.Tensor:
    del p
    return noise


HOOKS_BEFORE_HIRES_RESET = False
"""Whether the hires pass calls its hook once more, before the model is made ready for it."""


def note_hires(p: Any) -> None:
    """Nothing of its own."""


def load_for_hires(p: Any) -> None:
    with sd_models.SkipWritingToConfig():
        sd_models.reload_model_weights(info=p.hr_checkpoint_info)


def condition_hires_early(p: Any) -> None:
    """The hires pass's prompts are read when it begins, unless the old behaviour is asked for."""
    if opts.hires_fix_use_firstpass_conds:
        p.calculate_hr_conds()


def takes_a_picture(model: Any) -> bool:
    """Whether the U-Net sees a masked picture beside the latent, as inpainting models do."""
    return model.model.conditioning_key in {"hybrid", "concat"}


def is_edit_model() -> bool:
    return shared.sd_model.cond_stage_key == "edit"


def embeddings() -> Any:
    return model_hijack.embedding_db


def reload_embeddings() -> None:
    model_hijack.embedding_db.load_textual_inversion_embeddings(force_reload=True)


def last_entries() -> dict[str, Any]:
    """What the infotext ends with, beyond what both flavours write."""
    return {}


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


VAE_ROUTE = "sd-vae"


def vae_files() -> dict[str, str]:
    return sd_vae.vae_dict
