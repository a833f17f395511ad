"""What a request does with the loaded model, and when: the one part of a generation in which the two hosts differ."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from backend import memory_management
from backend.modules.k_prediction import rescale_zero_terminal_snr_sigmas
from backend.text_processing import classic_engine

from modules import extra_networks, sd_models, shared
from modules.shared import cmd_opts, opts
from modules.sysinfo import set_config
from modules.textual_inversion.textual_inversion import EmbeddingDatabase

need_global_unload = False
"""Set where the settings ask for another model or other memory; the next request then unloads everything."""
_embedding_db: EmbeddingDatabase | None = None


def watch_settings() -> None:
    """Settings are looked at when a request begins."""


def start() -> None:
    """The checkpoint is chosen; the first picture loads it."""
    from modules_forge import main_entry

    if opts.sd_model_checkpoint in (None, "None", "none", "") and sd_models.checkpoints_list:
        opts.set("sd_model_checkpoint", next(iter(sd_models.checkpoints_list.values())).name)
    main_entry.refresh_models()
    main_entry.refresh_model_loading_parameters()


def manage_model_and_prompt_cache(p: Any) -> None:
    global need_global_unload
    p.sd_model, just_loaded = sd_models.forge_model_reload()
    if need_global_unload:
        if not just_loaded:
            memory_management.unload_all_models()
        p.clear_prompt_cache()
    need_global_unload = False


@contextlib.contextmanager
def settings_of(p: Any) -> Iterator[None]:
    """The request's own settings, and the model that they ask for. What was never saved is not restored."""
    before = {name: opts.data[name] for name in p.override_settings if name in opts.data}
    try:
        if sd_models.checkpoint_aliases.get(p.override_settings.get("sd_model_checkpoint")) is None:
            p.override_settings.pop("sd_model_checkpoint", None)
        set_config(p.override_settings, is_api=True, run_callbacks=False, save_config=False)
        manage_model_and_prompt_cache(p)
        yield
    finally:
        if p.override_settings_restore_afterwards:
            set_config(before, save_config=False)


def begin_request(p: Any) -> None:
    from modules_forge.utils import apply_circular_forge

    apply_circular_forge(p.sd_model, p.tiling)
    p.sd_model.comments = []
    p.sd_model.extra_generation_params = {}


@contextlib.contextmanager
def inference(p: Any) -> Iterator[None]:
    del p
    with torch.inference_mode():
        yield


def after_init() -> None:
    """Nothing takes the U-Net's place here."""


def begin_batch(p: Any) -> None:
    """Brings the selected checkpoint back where a Refiner took its place; all patchers as they were loaded."""
    sd_models.forge_model_reload()
    p.sd_model.forge_objects = p.sd_model.forge_objects_original.shallow_copy()


def latent_channels() -> int:
    return shared.sd_model.forge_objects.vae.latent_channels


def activate_networks(p: Any, data: Any) -> None:
    if not p.disable_extra_networks:
        extra_networks.activate(p, data)


def after_networks(p: Any) -> None:
    p.sd_model.forge_objects = p.sd_model.forge_objects_after_applying_lora.shallow_copy()


def comment(text: str) -> None:
    shared.sd_model.comments.append(text)


def comments() -> list[str]:
    return shared.sd_model.comments


def notes() -> dict[str, Any]:
    return shared.sd_model.extra_generation_params


def conditioned(encode: Callable[[], Any], cache: list[Any]) -> Any:
    """The text encoder's result; what it noted is kept with it, where the cache has a place for that."""
    shared.sd_model.set_clip_skip(int(opts.CLIP_stop_at_last_layers))
    result = encode()
    noted = dict(classic_engine.last_extra_generation_params)
    classic_engine.last_extra_generation_params.clear()
    shared.sd_model.extra_generation_params.update(noted)
    cache[2:] = [noted]
    return result


def recall_notes(cache: list[Any]) -> None:
    for noted in cache[2:]:
        shared.sd_model.extra_generation_params.update(noted or {})


def leaves_uncond_out(cfg: float) -> bool:
    return cfg == 1


@contextlib.contextmanager
def sampling(p: Any) -> Iterator[None]:
    """Around `p.sample`: the noise levels that the settings ask for (left so by an exception, as on the host)."""
    if opts.sd_noise_schedule != "Zero Terminal SNR" and not p.sd_model.model_config.ztsnr:
        yield
        return
    p.extra_generation_params["Noise Schedule"] = opts.sd_noise_schedule
    before = p.sd_model.forge_objects.unet.model.predictor.sigmas
    p.sd_model.forge_objects.unet.model.predictor.set_sigmas(rescale_zero_terminal_snr_sigmas(before))
    yield
    p.sd_model.forge_objects.unet.model.predictor.set_sigmas(before)


def before_pass(p: Any, for_hr: bool = False) -> None:
    """All patchers with the prompt's networks and nothing else; what was patched before is gone."""
    p.sd_model.forge_objects = p.sd_model.forge_objects_after_applying_lora.shallow_copy()
    sd_models.apply_token_merging(p.sd_model, p.get_token_merging_ratio(for_hr=for_hr))


def after_hires_pass(p: Any) -> None:
    """Nothing to take back."""


def pass_noise(p: Any, noise: torch.Tensor) -> torch.Tensor:
    """The noise that a script has put in place of the request's, once."""
    changed, p.modified_noise = p.modified_noise, None
    return noise if changed is None else changed


HOOKS_BEFORE_HIRES_RESET = True
"""Whether the hires pass calls its hook once more, before the model is made ready for it."""


def note_hires(p: Any) -> None:
    if isinstance(p.hr_additional_modules, list):
        modules = p.hr_additional_modules or ["Built-in"]
        same = "Use same choices" in modules
        for number, module in enumerate(["Use same choices"] if same else modules, start=1):
            p.extra_generation_params[f"Hires Module {number}"] = module
    p.extra_generation_params["Hires CFG Scale"] = p.hr_cfg


def load_for_hires(p: Any) -> None:
    """Another checkpoint or other modules for the hires pass. TypeError without a list of modules, as on the host."""
    from modules_forge import main_entry

    selected, modules = opts.sd_model_checkpoint, opts.forge_additional_modules
    unsaved = {"save": False, "refresh": False}
    other = False
    if "Use same choices" not in p.hr_additional_modules:
        other = main_entry.modules_change(p.hr_additional_modules, **unsaved)
    if p.hr_checkpoint_name and p.hr_checkpoint_name != "Use same checkpoint":
        other = main_entry.checkpoint_change(p.hr_checkpoint_name, **unsaved) or other
    if not other:
        return
    try:
        main_entry.refresh_model_loading_parameters()
        sd_models.forge_model_reload()
    finally:
        main_entry.modules_change(modules, **unsaved)
        main_entry.checkpoint_change(selected, **unsaved)
        main_entry.refresh_model_loading_parameters()


def condition_hires_early(p: Any) -> None:
    """The hires pass's prompts are read at once, with its networks, which then make way for the first pass's again."""
    if opts.hires_fix_use_firstpass_conds:
        p.calculate_hr_conds()
        return
    extra_networks.activate(p, p.hr_extra_network_data)
    p.calculate_hr_conds()
    extra_networks.activate(p, p.extra_network_data)


def takes_a_picture(model: Any) -> bool:
    """Whether the U-Net sees a masked picture beside the latent, as inpainting models do."""
    return model.is_inpaint


def is_edit_model() -> bool:
    return False


def embeddings() -> EmbeddingDatabase:
    """What the API lists; the text encoder has a database of its own."""
    global _embedding_db
    if _embedding_db is None:
        _embedding_db = EmbeddingDatabase()
        _embedding_db.add_embedding_dir(cmd_opts.embeddings_dir)
        reload_embeddings()
    return _embedding_db


def reload_embeddings() -> None:
    embeddings().load_textual_inversion_embeddings(force_reload=True, sync_with_sd_model=False)


def last_entries() -> dict[str, Any]:
    """What the infotext ends with, beyond what both flavours write."""
    low_bits = opts.forge_unet_storage_dtype
    entries = {} if low_bits == "Automatic" else {"Diffusion in Low Bits": low_bits}
    for number, module in enumerate(opts.forge_additional_modules, start=1):
        entries[f"Module {number}"] = Path(module).stem
    return entries


def change_setting(key: str, value: Any) -> bool:
    """A setting on the page; whether it is another."""
    from modules_forge import main_entry

    if key == "sd_model_checkpoint":
        return main_entry.checkpoint_change(value)
    return opts.set(key, value)


VAE_ROUTE = "sd-modules"


def vae_files() -> dict[str, str]:
    from modules_forge import main_entry

    return main_entry.module_list
