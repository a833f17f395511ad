"""What a request does with the loaded model, and when: the one part of a generation in which the two hosts differ."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from backend import memory_management
from backend.modules.k_prediction import rescale_zero_terminal_snr_sigmas
from backend.sampling.sampling_function import sampling_cleanup, sampling_prepare
from modules_forge import main_entry

from modules import extra_networks, sd_models, shared
from modules.shared import opts

HOOKS_BEFORE_HIRES_RESET = True
"""Whether the hires pass calls its hook once more, before the model is made ready for it."""
REFINER_FORGETS_NETWORKS = True
_CHECKPOINT = "sd_model_checkpoint"


def start() -> None:
    """The checkpoint is chosen; the first picture loads it."""
    if opts.sd_model_checkpoint in (None, "None", "none", "") and sd_models.checkpoints_list:
        opts.set(_CHECKPOINT, sd_models.select_checkpoint().name)
    main_entry.refresh_model_loading_parameters()


def set_config(req: dict[str, Any], is_api: bool = False, run_callbacks: bool = True, save_config: bool = True) -> None:
    """Unchanged values are passed over. RuntimeError for a checkpoint that is not listed."""
    changed = {name: value for name, value in req.items() if value != opts.data.get(name)}
    checkpoint = changed.pop(_CHECKPOINT, None)
    if checkpoint is not None and checkpoint not in sd_models.checkpoint_aliases:
        raise RuntimeError(f"model {checkpoint!r} not found")
    for name, value in changed.items():
        opts.set(name, value, is_api=is_api, run_callbacks=run_callbacks)
    if checkpoint is not None:
        main_entry.checkpoint_change(checkpoint, save=False)
    if save_config:
        opts.save(shared.config_filename)


def change_setting(key: str, value: Any) -> bool:
    """A setting on the page; whether it is another."""
    return main_entry.checkpoint_change(value) if key == _CHECKPOINT else opts.set(key, value)


@contextlib.contextmanager
def settings_of(p: Any) -> Iterator[None]:
    """The request's own settings, and the model that they ask for. What was never saved is not restored."""
    wanted = p.override_settings
    if wanted.get(_CHECKPOINT) not in sd_models.checkpoint_aliases:
        wanted.pop(_CHECKPOINT, None)
    before = {name: opts.data[name] for name in wanted if name in opts.data}
    try:
        set_config(wanted, is_api=True, run_callbacks=False, save_config=False)
        p.sd_model, made_now = sd_models.forge_model_reload()
        if main_entry.need_global_unload:
            p.clear_prompt_cache()
            if not made_now:
                memory_management.unload_all_models()
        main_entry.need_global_unload = False
        yield
    finally:
        if p.override_settings_restore_afterwards:
            set_config(before, save_config=False)


def begin_request(p: Any) -> None:
    """Tiling is without effect on this host."""
    shared.sd_model.comments = []


def inference() -> contextlib.AbstractContextManager[Any]:
    return torch.inference_mode()


def begin_batch(p: Any) -> None:
    """Brings the selected checkpoint back where a Refiner took its place; all patchers as they were loaded."""
    sd_models.forge_model_reload()
    p.sd_model.forge_objects = p.sd_model.forge_objects_original.shallow_copy()


def autoencoder_width() -> int:
    return shared.sd_model.model_config.vae_config["ddconfig"]["ch"]


def activate_networks(p: Any, data: Any) -> None:
    if not p.disable_extra_networks:
        extra_networks.activate(p, data)
    if not p.is_hr_pass:
        before_pass(p)


def comments() -> list[str]:
    return shared.sd_model.comments


def before_reading() -> None:
    shared.sd_model.set_clip_skip(int(opts.CLIP_stop_at_last_layers))


def leaves_uncond_out(cfg: float) -> bool:
    return cfg == 1


@contextlib.contextmanager
def sampling(p: Any) -> Iterator[None]:
    """Around `p.sample`: the noise levels that the settings ask for (left so by an exception, as on the host)."""
    before = p.sd_model.forge_objects.unet.model.predictor.sigmas
    zero_terminal = opts.sd_noise_schedule == "Zero Terminal SNR" or p.sd_model.model_config.ztsnr
    if zero_terminal:
        p.extra_generation_params["Noise Schedule"] = opts.sd_noise_schedule
        p.sd_model.forge_objects.unet.model.predictor.set_sigmas(rescale_zero_terminal_snr_sigmas(before))
    yield
    if zero_terminal:
        p.sd_model.forge_objects.unet.model.predictor.set_sigmas(before)


def before_pass(p: Any) -> None:
    """All patchers with the prompt's networks and nothing else; what was patched before is gone."""
    p.sd_model.forge_objects = p.sd_model.forge_objects_after_applying_lora.shallow_copy()


def _load_for_a_moment(checkpoint: str) -> None:
    """Another checkpoint is loaded; the settings name it for the length of this alone."""
    before = opts.sd_model_checkpoint
    if main_entry.checkpoint_change(checkpoint, save=False):
        try:
            sd_models.forge_model_reload()
        finally:
            main_entry.checkpoint_change(before, save=False)


def load_for_hires(p: Any) -> None:
    """TypeError without a list of modules, as on the host; other modules than the settings' are not played here."""
    list(p.hr_additional_modules)
    if p.hr_checkpoint_info is not None:
        _load_for_a_moment(p.hr_checkpoint_name)


def condition_hires_early(p: Any) -> None:
    """The hires pass's prompts are read at once, with its networks, which then make way for the first pass's again."""
    extra_networks.activate(p, p.hr_extra_network_data)
    p.calculate_hr_conds()
    extra_networks.activate(p, p.extra_network_data)


def takes_a_picture(model: Any) -> bool:
    """Whether the U-Net sees a masked picture beside the latent, as inpainting models do."""
    return model.model_config.inpaint_model()


def refiner_progress(denoiser: Any, sigma: torch.Tensor) -> float:
    """How much of the sampling is done, by calls made of those expected."""
    del sigma
    return denoiser.step / denoiser.total_steps


@contextlib.contextmanager
def exchanged_for_refiner(info: Any, x: torch.Tensor) -> Iterator[None]:
    """Drops the loaded model and builds the other one whole: what was patched on the first one's U-Net is lost."""
    sampling_cleanup(shared.sd_model.forge_objects.unet)
    _load_for_a_moment(info.short_title)
    yield
    sampling_prepare(shared.sd_model.forge_objects.unet, x=x)


def last_entries() -> dict[str, Any]:
    """What the infotext ends with, beyond what both flavours write."""
    low_bits = opts.forge_unet_storage_dtype
    return {} if low_bits == "Automatic" else {"Diffusion in Low Bits": low_bits}
