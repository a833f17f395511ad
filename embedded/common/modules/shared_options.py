"""The settings and their defaults: those alone that something here or the extension under test reads."""

from __future__ import annotations

import os
from typing import Any

from modules import flavour
from modules.options import OptionInfo
from modules.paths import default_output_dir

# Settings that an infotext names, by its label for them.
_IN_INFOTEXT: dict[str, tuple[str, Any]] = {
    "sd_model_checkpoint": ("Model hash", None),
    "CLIP_stop_at_last_layers": ("Clip skip", 1),
    "randn_source": ("RNG", "GPU"),
    "tiling": ("Tiling", False),
    "hires_fix_refiner_pass": ("Hires refiner", "second pass"),
    "inpainting_mask_weight": ("Conditional mask weight", 1.0),
    "s_min_uncond": ("NGMS", 0.0),
    "s_min_uncond_all": ("NGMS all steps", False),
    "pad_cond_uncond": ("Pad conds", False),
    "use_downcasted_alpha_bar": ("Downcast alphas_cumprod", False),
    "eta_ddim": ("Eta DDIM", 0.0),
    "eta_ancestral": ("Eta", 1.0),
    "s_churn": ("Sigma churn", 0.0),
    "s_tmin": ("Sigma tmin", 0.0),
    "s_tmax": ("Sigma tmax", 0.0),
    "s_noise": ("Sigma noise", 1.0),
    "eta_noise_seed_delta": ("ENSD", 0),
    "always_discard_next_to_last_sigma": ("Discard penultimate sigma", False),
    "sgm_noise_multiplier": ("SGM noise multiplier", False),
    "uni_pc_variant": ("UniPC variant", "bh1"),
    "uni_pc_skip_type": ("UniPC skip type", "time_uniform"),
    "uni_pc_order": ("UniPC order", 3),
    "sd_noise_schedule": ("Noise Schedule", "Default"),
    "skip_early_cond": ("Skip Early CFG", 0.0),
}
_ON = ("samples_save", "grid_save", "enable_pnginfo", "return_grid", "save_to_dirs", "save_images_add_number")
_ON += ("batch_cond_uncond", "add_model_hash_to_info")
_OFF = ("grid_extended_filename", "grid_prevent_empty_spots", "do_not_show_images", "enable_quantization")
_OFF += ("img2img_fix_steps", "use_old_karras_scheduler_sigmas", "no_dpmpp_sde_batch_determinism")
_OFF += ("cache_fp16_weight", "live_preview_fast_interrupt")
_OTHERS: dict[str, Any] = {
    **dict.fromkeys(_ON, True),
    **dict.fromkeys(_OFF, False),
    **dict.fromkeys(("samples_format", "grid_format"), "png"),
    **dict.fromkeys(("outdir_samples", "outdir_grids"), ""),
    **{
        f"outdir_{tab}_{kind}": os.path.join(default_output_dir, f"{tab}-{folder}")
        for tab in ("txt2img", "img2img")
        for kind, folder in (("samples", "images"), ("grids", "grids"))
    },
    "save_images_replace_action": "Replace",
    "sd_checkpoints_limit": 1,
    "show_progress_type": "Approx NN",
    "live_preview_refresh_period": 1000,
    **flavour.SETTINGS,
}

options_templates: dict[str, OptionInfo] = {
    **{name: OptionInfo(default, infotext=label) for name, (label, default) in _IN_INFOTEXT.items()},
    **{name: OptionInfo(default, name) for name, default in _OTHERS.items()},
}
