"""The settings: names, defaults and infotext labels as the host has them, those alone that something here or an
extension reads.
"""

from __future__ import annotations

import os
from typing import Any

import gradio as gr

from modules import shared_items
from modules.options import OptionInfo, options_section
from modules.paths import default_output_dir
from modules.shared_cmd_options import cmd_opts

restricted_opts = {
    "samples_filename_pattern",
    "directories_filename_pattern",
    "outdir_samples",
    "outdir_txt2img_samples",
    "outdir_img2img_samples",
    "outdir_grids",
    "outdir_txt2img_grids",
    "outdir_img2img_grids",
    "outdir_init_images",
    "temp_dir",
    "clean_temp_dir_at_start",
}
options_templates: dict[str, OptionInfo] = {}
_dirs = {"visible": not cmd_opts.hide_ui_dir_config}


def _section(identifier: tuple[Any, ...], **infos: OptionInfo) -> None:
    options_templates.update(options_section(identifier, infos))


def _slider(
    default: float, label: str, low: float, high: float, step: float, infotext: str | None = None
) -> OptionInfo:
    return OptionInfo(default, label, gr.Slider, {"minimum": low, "maximum": high, "step": step}, infotext=infotext)


def _radio(default: str, label: str, choices: list[str], infotext: str | None = None) -> OptionInfo:
    return OptionInfo(default, label, gr.Radio, {"choices": choices}, infotext=infotext)


def _outdir(folder: str, label: str) -> OptionInfo:
    return OptionInfo(os.path.join(default_output_dir, folder) if folder else "", label, component_args=_dirs)


_section(
    ("saving-images", "Saving images/grids", "saving"),
    samples_save=OptionInfo(True, "Always save all generated images"),
    samples_format=OptionInfo("png", "File format for images"),
    save_images_add_number=OptionInfo(True, "Add number to filename when saving", component_args=_dirs),
    grid_save=OptionInfo(True, "Always save all generated image grids"),
    grid_format=OptionInfo("png", "File format for grids"),
    grid_extended_filename=OptionInfo(False, "Add extended info (seed, prompt) to filename when saving grid"),
    grid_only_if_multiple=OptionInfo(True, "Do not save grids consisting of one picture"),
    grid_prevent_empty_spots=OptionInfo(False, "Prevent empty spots in grid (when set to autodetect)"),
    n_rows=_slider(-1, "Grid row count; use -1 for autodetect and 0 for it to be same as batch size", -1, 16, 1),
    save_images_before_face_restoration=OptionInfo(False, "Save a copy of image before doing face restoration."),
    save_images_before_highres_fix=OptionInfo(False, "Save a copy of image before applying highres fix."),
    save_images_before_color_correction=OptionInfo(False, "Save a copy before color correction of img2img results"),
    save_mask=OptionInfo(False, "For inpainting, save a copy of the greyscale mask"),
    save_mask_composite=OptionInfo(False, "For inpainting, save a masked composite"),
    jpeg_quality=_slider(80, "Quality for saved jpeg and avif images", 1, 100, 1),
    save_init_img=OptionInfo(False, "Save init images when using img2img"),
    save_incomplete_images=OptionInfo(False, "Save incomplete images"),
    temp_dir=OptionInfo("", "Directory for temporary images; leave empty for default"),
    clean_temp_dir_at_start=OptionInfo(False, "Cleanup non-default temporary directory when starting webui"),
)
_section(
    ("saving-paths", "Paths for saving", "saving"),
    outdir_samples=_outdir("", "Output directory for images; if empty, defaults to two directories below"),
    outdir_txt2img_samples=_outdir("txt2img-images", "Output directory for txt2img images"),
    outdir_img2img_samples=_outdir("img2img-images", "Output directory for img2img images"),
    outdir_grids=_outdir("", "Output directory for grids; if empty, defaults to two directories below"),
    outdir_txt2img_grids=_outdir("txt2img-grids", "Output directory for txt2img grids"),
    outdir_img2img_grids=_outdir("img2img-grids", "Output directory for img2img grids"),
    outdir_init_images=_outdir("init-images", "Directory for saving init images when using img2img"),
    save_to_dirs=OptionInfo(True, "Save images to a subdirectory"),
    grid_save_to_dirs=OptionInfo(True, "Save grids to a subdirectory"),
    directories_filename_pattern=OptionInfo("[date]", "Directory name pattern", component_args=_dirs),
    samples_filename_pattern=OptionInfo("", "Images filename pattern", component_args=_dirs),
)
_section(
    ("face-restoration", "Face restoration", "postprocessing"),
    face_restoration=OptionInfo(False, "Restore faces", infotext="Face restoration"),
    face_restoration_model=OptionInfo("CodeFormer", "Face restoration model"),
)
_section(
    ("system", "System", "system"),
    enable_console_prompts=OptionInfo(cmd_opts.enable_console_prompts, "Print prompts to console when generating."),
    memmon_poll_rate=_slider(8, "VRAM usage polls per second during generation.", 0, 40, 1),
    samples_log_stdout=OptionInfo(False, "Always print all generation info to standard output"),
    multiple_tqdm=OptionInfo(True, "Add a second progress bar to the console that shows progress for an entire job."),
    disable_mmap_load_safetensors=OptionInfo(False, "Disable memmapping for loading .safetensors files."),
    list_hidden_files=OptionInfo(True, "Load models/files in hidden directories"),
    profiling_enable=OptionInfo(False, "Enable profiling"),
    api_enable_requests=OptionInfo(True, "Allow http:// and https:// URLs for input images in API", restrict_api=True),
)
_section(
    ("sd", "Stable Diffusion", "sd"),
    sd_model_checkpoint=OptionInfo(
        None,
        "Stable Diffusion checkpoint",
        gr.Dropdown,
        lambda: {"choices": shared_items.list_checkpoint_tiles()},
        refresh=shared_items.refresh_checkpoints,
        infotext="Model hash",
    ),
    sd_checkpoints_limit=_slider(1, "Maximum number of checkpoints loaded at the same time", 1, 10, 1),
    sd_checkpoints_keep_in_cpu=OptionInfo(True, "Only keep one model on device"),
    sd_checkpoint_cache=_slider(0, "Checkpoints to cache in RAM", 0, 10, 1),
    sd_checkpoint_dropdown_use_short=OptionInfo(False, "Checkpoint dropdown: use filenames without paths"),
    sd_unet=OptionInfo("Automatic", "SD Unet", gr.Dropdown, lambda: {"choices": shared_items.sd_unet_items()}),
    enable_quantization=OptionInfo(False, "Enable quantization in K samplers").needs_reload_ui(),
    emphasis=_radio("Original", "Emphasis mode", ["None", "Ignore", "Original", "No norm"], "Emphasis"),
    enable_batch_seeds=OptionInfo(
        True, "Make K-diffusion samplers produce same images in a batch as when making a single image"
    ),
    comma_padding_backtrack=_slider(20, "Prompt word wrap length limit", 0, 74, 1),
    CLIP_stop_at_last_layers=_slider(1, "Clip skip", 1, 12, 1, "Clip skip"),
    randn_source=_radio("GPU", "Random number generator source.", ["GPU", "CPU", "NV"], "RNG"),
    tiling=OptionInfo(False, "Tiling", infotext="Tiling"),
    hires_fix_refiner_pass=_radio(
        "second pass",
        "Hires fix: which pass to enable refiner for",
        ["first pass", "second pass", "both passes"],
        "Hires refiner",
    ),
    enable_prompt_comments=OptionInfo(True, "Enable comments"),
    sdxl_crop_top=OptionInfo(0, "crop top coordinate"),
    sdxl_crop_left=OptionInfo(0, "crop left coordinate"),
    sdxl_clip_l_skip=OptionInfo(False, "Clip skip SDXL"),
)
_section(
    ("vae", "VAE", "sd"),
    sd_vae=OptionInfo(
        "Automatic", "SD VAE", gr.Dropdown, lambda: {"choices": shared_items.sd_vae_items()}, infotext="VAE"
    ),
    sd_vae_overrides_per_model_preferences=OptionInfo(True, "Selected VAE overrides per-model preferences"),
    auto_vae_precision_bfloat16=OptionInfo(False, "Automatically convert VAE to bfloat16"),
    auto_vae_precision=OptionInfo(True, "Automatically revert VAE to 32-bit floats"),
    sd_vae_encode_method=_radio("Full", "VAE type for encode", ["Full", "TAESD"], "VAE Encoder"),
    sd_vae_decode_method=_radio("Full", "VAE type for decode", ["Full", "TAESD"], "VAE Decoder"),
)
_section(
    ("img2img", "img2img", "sd"),
    inpainting_mask_weight=_slider(
        1.0, "Inpainting conditioning mask strength", 0.0, 1.0, 0.01, "Conditional mask weight"
    ),
    initial_noise_multiplier=_slider(1.0, "Noise multiplier for img2img", 0.0, 1.5, 0.001, "Noise multiplier"),
    img2img_extra_noise=_slider(0.0, "Extra noise multiplier for img2img and hires fix", 0.0, 1.0, 0.01, "Extra noise"),
    img2img_color_correction=OptionInfo(False, "Apply color correction to img2img results to match original colors."),
    img2img_fix_steps=OptionInfo(False, "With img2img, do exactly the amount of steps the slider specifies."),
    img2img_background_color=OptionInfo(
        "#ffffff", "With img2img, fill transparent parts of the input image with this color."
    ),
    return_mask=OptionInfo(False, "For inpainting, include the greyscale mask in results for web"),
    return_mask_composite=OptionInfo(False, "For inpainting, include masked composite in results for web"),
    overlay_inpaint=OptionInfo(True, "Overlay original for inpaint"),
    upscaler_for_img2img=OptionInfo(
        None, "Upscaler for img2img", gr.Dropdown, lambda: {"choices": shared_items.upscaler_names()}
    ),
)
_section(
    ("optimizations", "Optimizations", "sd"),
    cross_attention_optimization=OptionInfo("Automatic", "Cross attention optimization"),
    s_min_uncond=_slider(0.0, "Negative Guidance minimum sigma", 0.0, 15.0, 0.01, "NGMS"),
    s_min_uncond_all=OptionInfo(False, "Negative Guidance minimum sigma all steps", infotext="NGMS all steps"),
    token_merging_ratio=_slider(0.0, "Token merging ratio", 0.0, 0.9, 0.1, "Token merging ratio"),
    token_merging_ratio_img2img=_slider(0.0, "Token merging ratio for img2img", 0.0, 0.9, 0.1),
    token_merging_ratio_hr=_slider(
        0.0, "Token merging ratio for high-res pass", 0.0, 0.9, 0.1, "Token merging ratio hr"
    ),
    pad_cond_uncond=OptionInfo(False, "Pad prompt/negative prompt", infotext="Pad conds"),
    pad_cond_uncond_v0=OptionInfo(False, "Pad prompt/negative prompt (v0)", infotext="Pad conds v0"),
    persistent_cond_cache=OptionInfo(True, "Persistent cond cache"),
    batch_cond_uncond=OptionInfo(True, "Batch cond/uncond"),
    fp8_storage=_radio("Disable", "FP8 weight", ["Disable", "Enable for SDXL", "Enable"]),
    cache_fp16_weight=OptionInfo(False, "Cache FP16 weight for LoRA"),
)
_section(
    ("compatibility", "Compatibility", "sd"),
    auto_backcompat=OptionInfo(True, "Automatic backward compatibility"),
    use_old_emphasis_implementation=OptionInfo(False, "Use old emphasis implementation."),
    use_old_karras_scheduler_sigmas=OptionInfo(False, "Use old karras scheduler sigmas (0.1 to 10)."),
    no_dpmpp_sde_batch_determinism=OptionInfo(
        False, "Do not make DPM++ SDE deterministic across different batch sizes."
    ),
    use_old_hires_fix_width_height=OptionInfo(
        False, "For hires fix, use width/height sliders to set final resolution."
    ),
    hires_fix_use_firstpass_conds=OptionInfo(
        False, "For hires fix, calculate conds of second pass using extra networks of first pass."
    ),
    use_old_scheduling=OptionInfo(False, "Use old prompt editing timelines.", infotext="Old prompt editing timelines"),
    use_downcasted_alpha_bar=OptionInfo(
        False, "Downcast model alphas_cumprod to fp16.", infotext="Downcast alphas_cumprod"
    ),
    refiner_switch_by_sample_steps=OptionInfo(
        False,
        "Switch to refiner by sampling steps instead of model timesteps.",
        infotext="Refiner switch by sampling steps",
    ),
)
_section(
    ("extra_networks", "Extra Networks", "sd"),
    extra_networks_default_multiplier=_slider(1.0, "Default multiplier for extra networks", 0.0, 2.0, 0.01),
    extra_networks_add_text_separator=OptionInfo(" ", "Extra networks separator"),
    textual_inversion_print_at_load=OptionInfo(
        False, "Print a list of Textual Inversion embeddings when loading model"
    ),
    textual_inversion_add_hashes_to_infotext=OptionInfo(True, "Add Textual Inversion hashes to infotext"),
)
_section(
    ("ui", "User interface", "ui"),
    return_grid=OptionInfo(True, "Show grid in gallery"),
    do_not_show_images=OptionInfo(False, "Do not show any images in gallery"),
    quicksettings_list=OptionInfo(["sd_model_checkpoint"], "Quicksettings list"),
    samplers_in_dropdown=OptionInfo(True, "Use dropdown for sampler selection instead of radio group"),
    hires_fix_show_sampler=OptionInfo(False, "Hires fix: show hires checkpoint and sampler selection"),
    hires_fix_show_prompts=OptionInfo(False, "Hires fix: show hires prompt and negative prompt"),
    interrupt_after_current=OptionInfo(True, "Don't Interrupt in the middle"),
    hidden_tabs=OptionInfo([], "Hidden UI tabs"),
    send_seed=OptionInfo(True, "Send seed when sending prompt or image to other interface"),
    send_size=OptionInfo(True, "Send size when sending prompt or image to another interface"),
    enable_reloading_ui_scripts=OptionInfo(False, "Reload UI scripts when using Reload UI option"),
    gradio_theme=OptionInfo("Default", "Gradio theme"),
)
_section(
    ("infotext", "Infotext", "ui"),
    enable_pnginfo=OptionInfo(True, "Write infotext to metadata of the generated image"),
    save_txt=OptionInfo(False, "Create a text file with infotext next to every generated image"),
    add_model_name_to_info=OptionInfo(True, "Add model name to infotext"),
    add_model_hash_to_info=OptionInfo(True, "Add model hash to infotext"),
    add_vae_name_to_info=OptionInfo(True, "Add VAE name to infotext"),
    add_vae_hash_to_info=OptionInfo(True, "Add VAE hash to infotext"),
    add_user_name_to_info=OptionInfo(False, "Add user name to infotext when authenticated"),
    add_version_to_infotext=OptionInfo(True, "Add program version to infotext"),
    disable_weights_auto_swap=OptionInfo(True, "Disregard checkpoint information from pasted infotext"),
    infotext_skip_pasting=OptionInfo([], "Disregard fields from pasted infotext"),
    infotext_styles=_radio(
        "Apply if any", "Infer styles from pasted prompts", ["Ignore", "Apply", "Discard", "Apply if any"]
    ),
)
_section(
    ("ui", "Live previews", "ui"),
    show_progressbar=OptionInfo(True, "Show progressbar"),
    live_previews_enable=OptionInfo(True, "Show live previews of the created image"),
    live_previews_image_format=_radio("png", "Live preview file format", ["jpeg", "png", "webp"]),
    show_progress_grid=OptionInfo(True, "Show previews of all images generated in a batch as a grid"),
    show_progress_every_n_steps=_slider(10, "Live preview display period", -1, 32, 1),
    show_progress_type=_radio("Approx NN", "Live preview method", ["Full", "Approx NN", "Approx cheap", "TAESD"]),
    live_preview_allow_lowvram_full=OptionInfo(False, "Allow Full live preview method with lowvram/medvram"),
    live_preview_content=_radio("Prompt", "Live preview subject", ["Combined", "Prompt", "Negative prompt"]),
    live_preview_refresh_period=OptionInfo(1000, "Progressbar and preview update period"),
    live_preview_fast_interrupt=OptionInfo(False, "Return image with chosen live preview method on interrupt"),
)
_section(
    ("sampler-params", "Sampler parameters", "sd"),
    hide_samplers=OptionInfo([], "Hide samplers in user interface"),
    eta_ddim=_slider(0.0, "Eta for DDIM", 0.0, 1.0, 0.01, "Eta DDIM"),
    eta_ancestral=_slider(1.0, "Eta for k-diffusion samplers", 0.0, 1.0, 0.01, "Eta"),
    ddim_discretize=_radio("uniform", "img2img DDIM discretize", ["uniform", "quad"]),
    s_churn=_slider(0.0, "sigma churn", 0.0, 100.0, 0.01, "Sigma churn"),
    s_tmin=_slider(0.0, "sigma tmin", 0.0, 10.0, 0.01, "Sigma tmin"),
    s_tmax=_slider(0.0, "sigma tmax", 0.0, 999.0, 0.01, "Sigma tmax"),
    s_noise=_slider(1.0, "sigma noise", 0.0, 1.1, 0.001, "Sigma noise"),
    sigma_min=OptionInfo(0.0, "sigma min", gr.Number, infotext="Schedule min sigma"),
    sigma_max=OptionInfo(0.0, "sigma max", gr.Number, infotext="Schedule max sigma"),
    rho=OptionInfo(0.0, "rho", gr.Number, infotext="Schedule rho"),
    eta_noise_seed_delta=OptionInfo(0, "Eta noise seed delta", gr.Number, {"precision": 0}, infotext="ENSD"),
    always_discard_next_to_last_sigma=OptionInfo(
        False, "Always discard next-to-last sigma", infotext="Discard penultimate sigma"
    ),
    sgm_noise_multiplier=OptionInfo(False, "SGM noise multiplier", infotext="SGM noise multiplier"),
    uni_pc_variant=_radio("bh1", "UniPC variant", ["bh1", "bh2", "vary_coeff"], "UniPC variant"),
    uni_pc_skip_type=_radio(
        "time_uniform", "UniPC skip type", ["time_uniform", "time_quadratic", "logSNR"], "UniPC skip type"
    ),
    uni_pc_order=_slider(3, "UniPC order", 1, 50, 1, "UniPC order"),
    uni_pc_lower_order_final=OptionInfo(True, "UniPC lower order final", infotext="UniPC lower order final"),
    sd_noise_schedule=_radio(
        "Default", "Noise schedule for sampling", ["Default", "Zero Terminal SNR"], "Noise Schedule"
    ),
    skip_early_cond=_slider(0.0, "Ignore negative prompt during early sampling", 0.0, 1.0, 0.01, "Skip Early CFG"),
    beta_dist_alpha=_slider(0.6, "Beta scheduler - alpha", 0.01, 1.0, 0.01, "Beta scheduler alpha"),
    beta_dist_beta=_slider(0.6, "Beta scheduler - beta", 0.01, 1.0, 0.01, "Beta scheduler beta"),
)
_section(
    (None, "Hidden options"),
    disabled_extensions=OptionInfo([], "Disable these extensions"),
    disable_all_extensions=OptionInfo(
        "none", "Disable all extensions", gr.Radio, {"choices": ["none", "extra", "all"]}
    ),
    sd_checkpoint_hash=OptionInfo("", "SHA256 hash of the current checkpoint"),
)
