"""The settings: names, defaults and infotext labels as the host has them, those alone that something here or an
extension reads.
"""

from __future__ import annotations

import os
from typing import Any

import gradio as gr

from modules import flavour_options, shared_items
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


def _colour(default: str, label: str) -> OptionInfo:
    return OptionInfo(default, label, gr.ColorPicker, {})


def _outdir(folder: str, label: str) -> OptionInfo:
    return OptionInfo(os.path.join(default_output_dir, folder) if folder else "", label, component_args=_dirs)


_section(
    ("saving-images", "Saving images/grids", "saving"),
    samples_save=OptionInfo(True, "Save every picture"),
    samples_format=OptionInfo("png", "Format of saved pictures"),
    save_images_add_number=OptionInfo(True, "Begin file names with a number", component_args=_dirs),
    save_images_replace_action=OptionInfo(
        "Replace", "Where a file is there already", gr.Radio, {"choices": ["Replace", "Add number suffix"], **_dirs}
    ),
    grid_save=OptionInfo(True, "Save every grid"),
    grid_format=OptionInfo("png", "Format of saved grids"),
    grid_extended_filename=OptionInfo(False, "Put the seed into names of grids"),
    grid_only_if_multiple=OptionInfo(True, "No grid of a single picture"),
    grid_prevent_empty_spots=OptionInfo(
        False, "Choose rows so that the grid has no gaps (where the count is automatic)"
    ),
    font=OptionInfo("", "Font of legends in grids: a file (empty: DejaVu Sans)"),
    grid_text_active_color=_colour("#000000", "Colour of legends"),
    grid_text_inactive_color=_colour("#999999", "Colour of legends that are struck through"),
    grid_background_color=_colour("#ffffff", "Colour between a grid's pictures"),
    n_rows=_slider(-1, "Rows of a grid: -1 is automatic, 0 one row a batch", -1, 16, 1),
    save_images_before_face_restoration=OptionInfo(False, "Also save what face restoration starts from"),
    save_images_before_highres_fix=OptionInfo(False, "Also save what the hires pass starts from"),
    save_images_before_color_correction=OptionInfo(False, "Also save what colour correction starts from"),
    save_mask=OptionInfo(False, "Inpainting: also save the mask"),
    save_mask_composite=OptionInfo(False, "Inpainting: also save the painted part alone"),
    jpeg_quality=_slider(80, "Quality of JPEG files", 1, 100, 1),
    webp_lossless=OptionInfo(False, "WebP files without loss"),
    export_for_4chan=OptionInfo(True, "Save a JPEG copy of large pictures too"),
    img_downscale_threshold=OptionInfo(4.0, "Large is a file of so many MB", gr.Number),
    target_side_length=OptionInfo(4000, "Large is a side of so many pixels, which the copy is reduced to", gr.Number),
    img_max_size_mp=OptionInfo(200, "Largest picture, in megapixels", gr.Number),
    save_init_img=OptionInfo(False, "Also save img2img's start pictures"),
    save_incomplete_images=OptionInfo(False, "Save pictures that were interrupted"),
    temp_dir=OptionInfo("", "Folder of the page's temporary pictures (empty: the system's)"),
    clean_temp_dir_at_start=OptionInfo(False, "Empty that folder at every start"),
)
_section(
    ("saving-paths", "Paths for saving", "saving"),
    outdir_samples=_outdir("", "Folder of all pictures (empty: those below)"),
    outdir_txt2img_samples=_outdir("txt2img-images", "Folder of txt2img pictures"),
    outdir_img2img_samples=_outdir("img2img-images", "Folder of img2img pictures"),
    outdir_grids=_outdir("", "Folder of all grids (empty: those below)"),
    outdir_txt2img_grids=_outdir("txt2img-grids", "Folder of txt2img grids"),
    outdir_img2img_grids=_outdir("img2img-grids", "Folder of img2img grids"),
    outdir_init_images=_outdir("init-images", "Folder of img2img's start pictures"),
    save_to_dirs=OptionInfo(True, "Put pictures into a folder of the day"),
    grid_save_to_dirs=OptionInfo(True, "Put grids into a folder of the day"),
    directories_max_prompt_words=_slider(8, "Words of the prompt that [prompt_words] has at most", 1, 20, 1),
    directories_filename_pattern=OptionInfo("[date]", "Pattern of folder names", component_args=_dirs),
    samples_filename_pattern=OptionInfo("", "Pattern of file names", component_args=_dirs),
)
_section(
    ("face-restoration", "Face restoration", "postprocessing"),
    face_restoration=OptionInfo(False, "Restore faces", infotext="Face restoration"),
    face_restoration_model=OptionInfo("CodeFormer", "Face restoration model"),
)
_section(
    ("system", "System", "system"),
    enable_console_prompts=OptionInfo(cmd_opts.enable_console_prompts, "Write prompts to the console"),
    memmon_poll_rate=_slider(8, "How often a second the memory's use is asked", 0, 40, 1),
    samples_log_stdout=OptionInfo(False, "Write all about a generation to the console"),
    multiple_tqdm=OptionInfo(True, "A second progress bar in the console, for the whole job"),
    disable_mmap_load_safetensors=OptionInfo(False, "Read .safetensors files whole instead of mapping them"),
    list_hidden_files=OptionInfo(True, "List files of hidden folders too"),
    profiling_enable=OptionInfo(False, "Profile generations"),
    api_enable_requests=OptionInfo(True, "The API may fetch start pictures from addresses", restrict_api=True),
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
    sd_checkpoints_limit=_slider(1, "How many models may stay loaded", 1, 10, 1),
    sd_checkpoints_keep_in_cpu=OptionInfo(True, "All loaded models but one wait in main memory"),
    sd_checkpoint_cache=_slider(0, "How many files' tensors are kept in memory", 0, 10, 1),
    sd_checkpoint_dropdown_use_short=OptionInfo(False, "Show checkpoints without their folders"),
    sd_unet=OptionInfo("Automatic", "SD Unet", gr.Dropdown, lambda: {"choices": shared_items.sd_unet_items()}),
    enable_quantization=OptionInfo(False, "Round k-diffusion's sigmas to trained ones").needs_reload_ui(),
    emphasis=_radio("Original", "Emphasis mode", ["None", "Ignore", "Original", "No norm"], "Emphasis"),
    enable_batch_seeds=OptionInfo(True, "A picture is the same alone and in a batch"),
    comma_padding_backtrack=_slider(20, "How many tokens a chunk may be shortened to end at a comma", 0, 74, 1),
    CLIP_stop_at_last_layers=_slider(1, "Clip skip", 1, 12, 1, "Clip skip"),
    randn_source=_radio("GPU", "Where random numbers come from", ["GPU", "CPU", "NV"], "RNG"),
    tiling=OptionInfo(False, "Tiling", infotext="Tiling"),
    hires_fix_refiner_pass=_radio(
        "second pass",
        "Which passes of hires the Refiner takes part in",
        ["first pass", "second pass", "both passes"],
        "Hires refiner",
    ),
    enable_prompt_comments=OptionInfo(True, "Prompts may hold comments"),
    sdxl_crop_top=OptionInfo(0, "SDXL: rows cut at the top"),
    sdxl_crop_left=OptionInfo(0, "SDXL: columns cut at the left"),
    sdxl_clip_l_skip=OptionInfo(False, "Clip skip for SDXL too"),
)
_section(
    ("vae", "VAE", "sd"),
    sd_vae=OptionInfo(
        "Automatic", "SD VAE", gr.Dropdown, lambda: {"choices": shared_items.sd_vae_items()}, infotext="VAE"
    ),
    sd_vae_overrides_per_model_preferences=OptionInfo(True, "The VAE selected wins over one beside the checkpoint"),
    auto_vae_precision_bfloat16=OptionInfo(False, "Where the VAE gives NaN: try bfloat16"),
    auto_vae_precision=OptionInfo(True, "Where the VAE gives NaN: try float32"),
    sd_vae_encode_method=_radio("Full", "What encodes pictures", ["Full", "TAESD"], "VAE Encoder"),
    sd_vae_decode_method=_radio("Full", "What decodes latents", ["Full", "TAESD"], "VAE Decoder"),
)
_section(
    ("img2img", "img2img", "sd"),
    inpainting_mask_weight=_slider(
        1.0, "How much an inpainting model's mask hides", 0.0, 1.0, 0.01, "Conditional mask weight"
    ),
    initial_noise_multiplier=_slider(1.0, "Start noise of img2img", 0.0, 1.5, 0.001, "Noise multiplier"),
    img2img_extra_noise=_slider(0.0, "Further noise of img2img and hires", 0.0, 1.0, 0.01, "Extra noise"),
    img2img_color_correction=OptionInfo(False, "Give img2img's results the start picture's colours"),
    img2img_fix_steps=OptionInfo(False, "img2img makes all the steps that were asked for"),
    img2img_background_color=OptionInfo("#ffffff", "Colour behind transparent start pictures"),
    return_mask=OptionInfo(False, "Inpainting: show the mask among the results"),
    return_mask_composite=OptionInfo(False, "Inpainting: show the painted part alone among the results"),
    overlay_inpaint=OptionInfo(True, "Inpainting: lay the original over what is not painted"),
    upscaler_for_img2img=OptionInfo(
        None, "What enlarges start pictures", gr.Dropdown, lambda: {"choices": shared_items.upscaler_names()}
    ),
)
_section(
    ("optimizations", "Optimizations", "sd"),
    cross_attention_optimization=OptionInfo("Automatic", "Attention"),
    s_min_uncond=_slider(0.0, "Noise level below which the negative prompt is left out", 0.0, 15.0, 0.01, "NGMS"),
    s_min_uncond_all=OptionInfo(False, "Leave it out at every step, not at every second", infotext="NGMS all steps"),
    token_merging_ratio=_slider(0.0, "Token merging ratio", 0.0, 0.9, 0.1, "Token merging ratio"),
    token_merging_ratio_img2img=_slider(0.0, "Token merging ratio in img2img", 0.0, 0.9, 0.1),
    token_merging_ratio_hr=_slider(
        0.0, "Token merging ratio in the hires pass", 0.0, 0.9, 0.1, "Token merging ratio hr"
    ),
    pad_cond_uncond=OptionInfo(False, "Lengthen the shorter prompt by empty chunks", infotext="Pad conds"),
    pad_cond_uncond_v0=OptionInfo(
        False, "Lengthen or cut the negative prompt, as older versions did", infotext="Pad conds v0"
    ),
    persistent_cond_cache=OptionInfo(True, "Keep conditioning between requests"),
    batch_cond_uncond=OptionInfo(True, "Prompt and negative prompt in one call"),
    fp8_storage=_radio("Disable", "FP8 weight", ["Disable", "Enable for SDXL", "Enable"]),
    cache_fp16_weight=OptionInfo(False, "Keep half precision weights for LoRA"),
)
_section(
    ("compatibility", "Compatibility", "sd"),
    auto_backcompat=OptionInfo(True, "Old behaviour for old infotexts"),
    use_old_emphasis_implementation=OptionInfo(False, "Old emphasis"),
    use_old_karras_scheduler_sigmas=OptionInfo(False, "Karras between sigmas 0.1 and 10, as it was"),
    no_dpmpp_sde_batch_determinism=OptionInfo(False, "DPM++ SDE: one noise for the whole batch, as it was"),
    use_old_hires_fix_width_height=OptionInfo(False, "Width and height are the hires pass's, as they were"),
    hires_fix_use_firstpass_conds=OptionInfo(
        False, "Condition the hires pass with the first one's networks, as it was"
    ),
    use_old_scheduling=OptionInfo(
        False, "Prompt editing counts over both passes, as it did", infotext="Old prompt editing timelines"
    ),
    use_downcasted_alpha_bar=OptionInfo(
        False, "Noise schedule in half precision, as it was", infotext="Downcast alphas_cumprod"
    ),
    refiner_switch_by_sample_steps=OptionInfo(
        False,
        "The Refiner's place is counted in steps, not in noise",
        infotext="Refiner switch by sampling steps",
    ),
)
_section(
    ("extra_networks", "Extra Networks", "sd"),
    extra_networks_default_multiplier=_slider(1.0, "Weight of a network that is added to the prompt", 0.0, 2.0, 0.01),
    extra_networks_add_text_separator=OptionInfo(" ", "What is put before such a network"),
    textual_inversion_print_at_load=OptionInfo(False, "List embeddings in the console when a model is loaded"),
    textual_inversion_add_hashes_to_infotext=OptionInfo(True, "Name embeddings by their hashes in the infotext"),
)
_section(
    ("ui", "User interface", "ui"),
    return_grid=OptionInfo(True, "Show the grid among the results"),
    do_not_show_images=OptionInfo(False, "Show no results"),
    quicksettings_list=OptionInfo(["sd_model_checkpoint"], "Settings at the top of the page"),
    samplers_in_dropdown=OptionInfo(True, "Samplers in a list"),
    hires_fix_show_sampler=OptionInfo(False, "Show hires' own checkpoint and sampler"),
    hires_fix_show_prompts=OptionInfo(False, "Show hires' own prompts"),
    interrupt_after_current=OptionInfo(True, "The first click on Interrupt lets the current picture finish"),
    hidden_tabs=OptionInfo([], "Tabs that are not shown"),
    send_seed=OptionInfo(True, "Take the seed along to another tab"),
    send_size=OptionInfo(True, "Take the size along to another tab"),
    enable_reloading_ui_scripts=OptionInfo(False, "Reloading the page executes scripts again"),
    gradio_theme=OptionInfo("Default", "Gradio theme"),
)
_section(
    ("infotext", "Infotext", "ui"),
    enable_pnginfo=OptionInfo(True, "Write the infotext into pictures"),
    save_txt=OptionInfo(False, "Write the infotext into a file beside each picture"),
    add_model_name_to_info=OptionInfo(True, "Infotext: the model's name"),
    add_model_hash_to_info=OptionInfo(True, "Infotext: the model's hash"),
    add_vae_name_to_info=OptionInfo(True, "Infotext: the VAE's name"),
    add_vae_hash_to_info=OptionInfo(True, "Infotext: the VAE's hash"),
    add_user_name_to_info=OptionInfo(False, "Infotext: the user's name"),
    add_version_to_infotext=OptionInfo(True, "Infotext: the version"),
    disable_weights_auto_swap=OptionInfo(True, "Pasting an infotext leaves the checkpoint alone"),
    infotext_skip_pasting=OptionInfo([], "What of an infotext is not pasted"),
    infotext_styles=_radio(
        "Apply if any", "Styles found in pasted prompts", ["Ignore", "Apply", "Discard", "Apply if any"]
    ),
)
_section(
    ("ui", "Live previews", "ui"),
    show_progressbar=OptionInfo(True, "Show progress"),
    live_previews_enable=OptionInfo(True, "Show pictures while they form"),
    live_previews_image_format=_radio("png", "Format of previews", ["jpeg", "png", "webp"]),
    show_progress_grid=OptionInfo(True, "Preview the whole batch, as a grid"),
    show_progress_every_n_steps=_slider(10, "Steps between previews", -1, 32, 1),
    show_progress_type=_radio("Approx NN", "How previews are decoded", ["Full", "Approx NN", "Approx cheap", "TAESD"]),
    live_preview_allow_lowvram_full=OptionInfo(False, "Full decoding with --lowvram and --medvram too"),
    live_preview_content=_radio("Prompt", "Which prediction is previewed", ["Combined", "Prompt", "Negative prompt"]),
    live_preview_refresh_period=OptionInfo(1000, "Milliseconds between updates of progress"),
    live_preview_fast_interrupt=OptionInfo(False, "After an interrupt decode as previews are"),
)
_section(
    ("sampler-params", "Sampler parameters", "sd"),
    hide_samplers=OptionInfo([], "Samplers that are not listed"),
    eta_ddim=_slider(0.0, "DDIM's eta", 0.0, 1.0, 0.01, "Eta DDIM"),
    eta_ancestral=_slider(1.0, "Ancestral samplers' eta", 0.0, 1.0, 0.01, "Eta"),
    ddim_discretize=_radio("uniform", "DDIM's timesteps in img2img", ["uniform", "quad"]),
    s_churn=_slider(0.0, "sigma churn", 0.0, 100.0, 0.01, "Sigma churn"),
    s_tmin=_slider(0.0, "sigma tmin", 0.0, 10.0, 0.01, "Sigma tmin"),
    s_tmax=_slider(0.0, "sigma tmax", 0.0, 999.0, 0.01, "Sigma tmax"),
    s_noise=_slider(1.0, "sigma noise", 0.0, 1.1, 0.001, "Sigma noise"),
    sigma_min=OptionInfo(0.0, "sigma min", gr.Number, infotext="Schedule min sigma"),
    sigma_max=OptionInfo(0.0, "sigma max", gr.Number, infotext="Schedule max sigma"),
    rho=OptionInfo(0.0, "rho", gr.Number, infotext="Schedule rho"),
    eta_noise_seed_delta=OptionInfo(
        0, "Added to the seed of ancestral samplers' noise (ENSD)", gr.Number, {"precision": 0}, infotext="ENSD"
    ),
    always_discard_next_to_last_sigma=OptionInfo(
        False, "Leave out the last noise level but one", infotext="Discard penultimate sigma"
    ),
    sgm_noise_multiplier=OptionInfo(
        False, "Start noise scaled as in Stability's generative-models", infotext="SGM noise multiplier"
    ),
    uni_pc_variant=_radio("bh1", "UniPC: variant", ["bh1", "bh2", "vary_coeff"], "UniPC variant"),
    uni_pc_skip_type=_radio(
        "time_uniform", "UniPC: spacing of timesteps", ["time_uniform", "time_quadratic", "logSNR"], "UniPC skip type"
    ),
    uni_pc_order=_slider(3, "UniPC: order", 1, 50, 1, "UniPC order"),
    uni_pc_lower_order_final=OptionInfo(True, "UniPC: lower order at the end", infotext="UniPC lower order final"),
    sd_noise_schedule=_radio("Default", "Noise schedule", ["Default", "Zero Terminal SNR"], "Noise Schedule"),
    skip_early_cond=_slider(
        0.0, "Part of the sampling, from its start, without the negative prompt", 0.0, 1.0, 0.01, "Skip Early CFG"
    ),
    beta_dist_alpha=_slider(0.6, "Beta schedule: alpha", 0.01, 1.0, 0.01, "Beta scheduler alpha"),
    beta_dist_beta=_slider(0.6, "Beta schedule: beta", 0.01, 1.0, 0.01, "Beta scheduler beta"),
)
_section(
    (None, "Hidden options"),
    disabled_extensions=OptionInfo([], "Extensions that are off"),
    disable_all_extensions=OptionInfo(
        "none", "Which extensions are off altogether", gr.Radio, {"choices": ["none", "extra", "all"]}
    ),
    sd_checkpoint_hash=OptionInfo("", "SHA256 hash of the current checkpoint"),
)
flavour_options.register_options(options_templates)
