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
    "sd_vae": ("VAE", "Automatic"),
    "sd_vae_encode_method": ("VAE Encoder", "Full"),
    "sd_vae_decode_method": ("VAE Decoder", "Full"),
    "emphasis": ("Emphasis", "Original"),
    "CLIP_stop_at_last_layers": ("Clip skip", 1),
    "randn_source": ("RNG", "GPU"),
    "tiling": ("Tiling", False),
    "hires_fix_refiner_pass": ("Hires refiner", "second pass"),
    "inpainting_mask_weight": ("Conditional mask weight", 1.0),
    "initial_noise_multiplier": ("Noise multiplier", 1.0),
    "img2img_extra_noise": ("Extra noise", 0.0),
    "s_min_uncond": ("NGMS", 0.0),
    "s_min_uncond_all": ("NGMS all steps", False),
    "token_merging_ratio": ("Token merging ratio", 0.0),
    "token_merging_ratio_hr": ("Token merging ratio hr", 0.0),
    "pad_cond_uncond": ("Pad conds", False),
    "pad_cond_uncond_v0": ("Pad conds v0", False),
    "use_old_scheduling": ("Old prompt editing timelines", False),
    "use_downcasted_alpha_bar": ("Downcast alphas_cumprod", False),
    "refiner_switch_by_sample_steps": ("Refiner switch by sampling steps", False),
    "eta_ddim": ("Eta DDIM", 0.0),
    "eta_ancestral": ("Eta", 1.0),
    "s_churn": ("Sigma churn", 0.0),
    "s_tmin": ("Sigma tmin", 0.0),
    "s_tmax": ("Sigma tmax", 0.0),
    "s_noise": ("Sigma noise", 1.0),
    "sigma_min": ("Schedule min sigma", 0.0),
    "sigma_max": ("Schedule max sigma", 0.0),
    "rho": ("Schedule rho", 0.0),
    "eta_noise_seed_delta": ("ENSD", 0),
    "always_discard_next_to_last_sigma": ("Discard penultimate sigma", False),
    "sgm_noise_multiplier": ("SGM noise multiplier", False),
    "uni_pc_variant": ("UniPC variant", "bh1"),
    "uni_pc_skip_type": ("UniPC skip type", "time_uniform"),
    "uni_pc_order": ("UniPC order", 3),
    "uni_pc_lower_order_final": ("UniPC lower order final", True),
    "sd_noise_schedule": ("Noise Schedule", "Default"),
    "skip_early_cond": ("Skip Early CFG", 0.0),
    "beta_dist_alpha": ("Beta scheduler alpha", 0.6),
    "beta_dist_beta": ("Beta scheduler beta", 0.6),
}
_FILES: dict[str, Any] = {
    **dict.fromkeys(("samples_save", "grid_save", "grid_only_if_multiple", "save_to_dirs", "enable_pnginfo"), True),
    **dict.fromkeys(("save_images_add_number", "overlay_inpaint", "return_grid"), True),
    **dict.fromkeys(("grid_extended_filename", "grid_prevent_empty_spots", "do_not_show_images"), False),
    **dict.fromkeys(("save_images_before_highres_fix", "save_incomplete_images", "save_init_img"), False),
    **dict.fromkeys(("save_mask", "save_mask_composite", "return_mask", "return_mask_composite"), False),
    **dict.fromkeys(("samples_format", "grid_format"), "png"),
    **dict.fromkeys(("outdir_samples", "outdir_grids"), ""),
    "save_images_replace_action": "Replace",
    "n_rows": -1,
    "jpeg_quality": 80,
    "img_max_size_mp": 200,
    "img2img_background_color": "#ffffff",
    **{
        f"outdir_{tab}_{kind}": os.path.join(default_output_dir, f"{tab}-{folder}")
        for tab in ("txt2img", "img2img")
        for kind, folder in (("samples", "images"), ("grids", "grids"))
    },
    "outdir_init_images": os.path.join(default_output_dir, "init-images"),
}
_MODEL: dict[str, Any] = {
    "sd_checkpoint_hash": "",
    "sd_checkpoints_limit": 1,
    "sd_checkpoints_keep_in_cpu": True,
    "sd_checkpoint_cache": 0,
    "sd_checkpoint_dropdown_use_short": False,
    "sd_unet": "Automatic",
    "sd_vae_overrides_per_model_preferences": True,
    "auto_vae_precision": True,
    "auto_vae_precision_bfloat16": False,
    "disable_mmap_load_safetensors": False,
    "fp8_storage": "Disable",
    "cache_fp16_weight": False,
    "textual_inversion_add_hashes_to_infotext": True,
}
_SAMPLING: dict[str, Any] = {
    **dict.fromkeys(("enable_prompt_comments", "persistent_cond_cache"), True),
    "batch_cond_uncond": True,
    **dict.fromkeys(("enable_quantization", "img2img_fix_steps"), False),
    **dict.fromkeys(("use_old_karras_scheduler_sigmas",), False),
    **dict.fromkeys(("no_dpmpp_sde_batch_determinism", "use_old_hires_fix_width_height"), False),
    **dict.fromkeys(("hires_fix_use_firstpass_conds", "face_restoration"), False),
    **dict.fromkeys(("sdxl_crop_top", "sdxl_crop_left"), 0),
    "comma_padding_backtrack": 20,
    "face_restoration_model": "CodeFormer",
    "token_merging_ratio_img2img": 0.0,
    "ddim_discretize": "uniform",
    "hide_samplers": [],
}
_PAGE: dict[str, Any] = {
    **dict.fromkeys(("add_model_name_to_info", "add_model_hash_to_info", "add_vae_name_to_info"), True),
    **dict.fromkeys(("add_vae_hash_to_info", "add_version_to_infotext", "disable_weights_auto_swap"), True),
    "live_previews_enable": True,
    "show_progress_grid": True,
    "show_progress_every_n_steps": 10,
    "show_progress_type": "Approx NN",
    "live_preview_content": "Prompt",
    "live_preview_refresh_period": 1000,
    "live_preview_allow_lowvram_full": False,
    "live_preview_fast_interrupt": False,
}

options_templates: dict[str, OptionInfo] = {
    name: OptionInfo(default, infotext=label) for name, (label, default) in _IN_INFOTEXT.items()
}
for _defaults in (_FILES, _MODEL, _SAMPLING, _PAGE, flavour.SETTINGS):
    options_templates.update({name: OptionInfo(default, name) for name, default in _defaults.items()})
