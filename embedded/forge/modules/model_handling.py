"""What a request does with the loaded model, and when: the one part of a generation in which the two hosts differ."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from backend import memory_management
from backend.modules.k_prediction import rescale_zero_terminal_snr_sigmas
from backend.sampling.sampling_function import sampling_cleanup, sampling_prepare

from modules import extra_networks, sd_models, shared
from modules.shared import opts
from modules.sysinfo import set_config

need_global_unload = False
"""Set where the settings ask for another model or other memory; the next request then unloads everything."""
HOOKS_BEFORE_HIRES_RESET = True
"""Whether the hires pass calls its hook once more, before the model is made ready for it."""
REFINER_FORGETS_NETWORKS = True
_SAME = "Use same choices"


def _turbo(n: int, sigma_min: float, sigma_max: float, inner_model: Any, device: torch.device) -> torch.Tensor:
    """Trailing timesteps."""
    predictor = inner_model.inner_model.forge_objects.unet.model.predictor
    timesteps = (1000.0 / n * torch.arange(n, 0, -1) - 1).round().long()
    return torch.cat([predictor.sigma(timesteps.clip(0, 999)), torch.zeros(1)]).to(device)


SCHEDULES = (("turbo", "Turbo", _turbo),)
"""Noise schedules of this host alone: name, label, function."""


def watch_settings() -> None:
    """Settings are looked at when a request begins."""


def start() -> None:
    """The checkpoint is chosen; the first picture loads it."""
    from modules_forge import main_entry

    main_entry.refresh_models()
    if opts.sd_model_checkpoint in (None, "None", "none", "") and sd_models.checkpoints_list:
        opts.set("sd_model_checkpoint", sd_models.select_checkpoint().name)
    main_entry.refresh_model_loading_parameters()


@contextlib.contextmanager
def settings_of(p: Any) -> Iterator[None]:
    """The request's own settings, and the model that they ask for. What was never saved is not restored."""
    global need_global_unload
    wanted = p.override_settings
    if wanted.get("sd_model_checkpoint") not in sd_models.checkpoint_aliases:
        wanted.pop("sd_model_checkpoint", None)
    before = {name: opts.data[name] for name in wanted if name in opts.data}
    try:
        set_config(wanted, is_api=True, run_callbacks=False, save_config=False)
        p.sd_model, made_now = sd_models.forge_model_reload()
        if need_global_unload and not made_now:
            memory_management.unload_all_models()
        if need_global_unload:
            p.clear_prompt_cache()
        need_global_unload = False
        yield
    finally:
        if p.override_settings_restore_afterwards:
            set_config(before, save_config=False)


def begin_request(p: Any) -> None:
    model = shared.sd_model
    if model.tiling_enabled != p.tiling:
        model.tiling_enabled = p.tiling
        print(f"Tiling: {p.tiling}. It is under maintenance on this host and without effect.")
    model.comments, model.extra_generation_params = [], {}


def inference(p: Any) -> contextlib.AbstractContextManager[Any]:
    del p
    return torch.inference_mode()


def after_init() -> None:
    """Nothing takes the U-Net's place here."""


def begin_batch(p: Any) -> None:
    """Brings the selected checkpoint back where a Refiner took its place; all patchers as they were loaded."""
    sd_models.forge_model_reload()
    p.sd_model.forge_objects = p.sd_model.forge_objects_original.shallow_copy()


def latent_channels() -> int:
    return shared.sd_model.forge_objects.vae.latent_channels


def autoencoder_width() -> int:
    return shared.sd_model.model_config.vae_config["ddconfig"]["ch"]


def activate_networks(p: Any, data: Any) -> None:
    if not p.disable_extra_networks:
        extra_networks.activate(p, data)
    if not p.is_hr_pass:
        p.sd_model.forge_objects = p.sd_model.forge_objects_after_applying_lora.shallow_copy()


def comments() -> list[str]:
    return shared.sd_model.comments


def notes() -> dict[str, Any]:
    return shared.sd_model.extra_generation_params


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


def pass_noise(p: Any, noise: torch.Tensor) -> torch.Tensor:
    """The noise that a script has put in place of the request's, once."""
    changed, p.modified_noise = p.modified_noise, None
    return noise if changed is None else changed


def note_hires(p: Any) -> None:
    if isinstance(p.hr_additional_modules, list):
        given = p.hr_additional_modules or ["Built-in"]
        for number, module in enumerate([_SAME] if _SAME in given else given, start=1):
            p.extra_generation_params[f"Hires Module {number}"] = module
    p.extra_generation_params["Hires CFG Scale"] = p.hr_cfg


@contextlib.contextmanager
def _selected_for_a_moment(checkpoint: str | None, modules: list[str] | None) -> Iterator[None]:
    """Another checkpoint or other modules are loaded; the settings name them for the length of this alone."""
    from modules_forge import main_entry

    before = (opts.sd_model_checkpoint, opts.forge_additional_modules)
    unsaved = {"save": False, "refresh": False}
    other = modules is not None and main_entry.modules_change(modules, **unsaved)
    other |= checkpoint is not None and main_entry.checkpoint_change(checkpoint, **unsaved)
    try:
        if other:
            main_entry.refresh_model_loading_parameters()
            sd_models.forge_model_reload()
        yield
    finally:
        if other:
            main_entry.checkpoint_change(before[0], **unsaved)
            main_entry.modules_change(before[1], **unsaved)
            main_entry.refresh_model_loading_parameters()


def load_for_hires(p: Any) -> None:
    """TypeError without a list of modules, as on the host."""
    modules = None if _SAME in p.hr_additional_modules else p.hr_additional_modules
    checkpoint = p.hr_checkpoint_name if p.hr_checkpoint_name not in ("", "Use same checkpoint") else None
    with _selected_for_a_moment(checkpoint, modules):
        pass


def condition_hires_early(p: Any) -> None:
    """The hires pass's prompts are read at once, with its networks, which then make way for the first pass's again."""
    extra_networks.activate(p, p.hr_extra_network_data)
    p.calculate_hr_conds()
    extra_networks.activate(p, p.extra_network_data)


def takes_a_picture(model: Any) -> bool:
    """Whether the U-Net sees a masked picture beside the latent, as inpainting models do."""
    return model.is_inpaint


def refiner_progress(denoiser: Any, sigma: torch.Tensor) -> float:
    """How much of the sampling is done, by calls made of those expected."""
    del sigma
    return denoiser.step / denoiser.total_steps


@contextlib.contextmanager
def exchanged_for_refiner(info: Any, x: torch.Tensor) -> Iterator[None]:
    """Drops the loaded model and builds the other one whole: what was patched on the first one's U-Net is lost."""
    sampling_cleanup(shared.sd_model.forge_objects.unet)
    with _selected_for_a_moment(info.short_title, None):
        pass
    yield
    sampling_prepare(shared.sd_model.forge_objects.unet, x=x)


def embeddings() -> Any:
    """For the API's list: textual inversion is not played here."""
    return SimpleNamespace(word_embeddings={}, skipped_embeddings={})


def reload_embeddings() -> None:
    """Nothing to read."""


def last_entries() -> dict[str, Any]:
    """What the infotext ends with, beyond what both flavours write."""
    low_bits = opts.forge_unet_storage_dtype
    entries = {} if low_bits == "Automatic" else {"Diffusion in Low Bits": low_bits}
    modules = enumerate(opts.forge_additional_modules, start=1)
    return entries | {f"Module {number}": Path(module).stem for number, module in modules}


def change_setting(key: str, value: Any) -> bool:
    """A setting on the page; whether it is another."""
    from modules_forge import main_entry

    return main_entry.checkpoint_change(value) if key == "sd_model_checkpoint" else opts.set(key, value)


VAE_ROUTE = "sd-modules"


def vae_files() -> dict[str, str]:
    from modules_forge import main_entry

    return main_entry.module_list


__all__ = ["set_config"]
