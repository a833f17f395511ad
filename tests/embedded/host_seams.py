"""Seams of the hosts that the preview and its neighbours stand on, by module: names of both hosts, then of each alone.

Unlike what `host_names` collects from the adapters' sources, these are listed, because most are attributes of objects
that the host hands over, or are found at run time. Modules are called as the real hosts call them.
"""

from __future__ import annotations

BOTH = {
    "modules.sd_samplers_common": "InterruptedException Sampler.callback_state Sampler.launch_sampling "
    "Sampler.last_latent Sampler.stop_at Sampler.model_wrap_cfg Sampler.initialize approximation_indexes "
    "samples_to_images_tensor",
    "modules.sd_samplers_cfg_denoiser": "CFGDenoiser.forward CFGDenoiser.get_pred_x0 CFGDenoiser.mask_before_denoising "
    "CFGDenoiser.nmask CFGDenoiser.mask CFGDenoiser.init_latent CFGDenoiser.sampler",
    "modules.processing": "decode_latent_batch process_images Processed.js Processed.infotexts Processed.images "
    "Processed.index_of_first_image StableDiffusionProcessingTxt2Img.sample_hr_pass "
    "StableDiffusionProcessingTxt2Img.sample StableDiffusionProcessing.close StableDiffusionProcessing.save_samples "
    "StableDiffusionProcessing.is_api StableDiffusionProcessing.user StableDiffusionProcessing.outpath_samples",
    "modules.call_queue": "queue_lock wrap_gradio_gpu_call",
    "modules.progress": "current_task pending_tasks",
    "modules.sd_vae": "loaded_vae_file get_loaded_vae_name",
    "modules.script_callbacks": "on_app_started on_before_image_saved on_image_saved ImageSaveParams.filename",
    "modules.images": "save_image save_image_with_geninfo read_info_from_image",
    "modules.shared": "parallel_processing_allowed state opts cmd_opts",
    "modules.shared_state": "State.stopping_generation State.stop_generating State.interrupted State.skipped "
    "State.current_latent State.assign_current_image",
    "modules.devices": "cpu device test_for_nans torch_gc",
}
A1111 = {
    "modules.sd_samplers_cfg_denoiser": "CFGDenoiser.combine_denoised",
    "modules.sd_models": "model_data.sd_model",
    "modules.lowvram": "is_enabled is_needed apply setup_for_low_vram send_everything_to_cpu",
}
FORGE = {
    "backend.sampling.sampling_function": "sampling_function sampling_function_inner",
    "backend.patcher.unet": "UnetPatcher.clone UnetPatcher.set_model_sampler_post_cfg_function "
    "UnetPatcher.set_model_sampler_pre_cfg_function UnetPatcher.model_options",
    "modules.processing": "Processed.extra_images StableDiffusionProcessing.extra_result_images",
    "modules_forge.main_thread": "run_and_wait_result async_run loop last_exception Task",
}
TABLES = {"a1111": (BOTH, A1111), "forge": (BOTH, FORGE)}
# Features of the hosts that the embedded WebUI does not play: in real trees alone.
HOSTS_ALONE = {
    "modules.progress": "recorded_results restore_progress",
    "modules.images": "FilenameGenerator.apply get_next_sequence_number sanitize_filename_part",
    "modules.ui_loadsave": "UiLoadsave.add_block UiLoadsave.ui_settings UiLoadsave.ui_apply",
}
FORGE_ALONE = {"modules.stealth_infotext": "add_stealth_pnginfo read_info_from_image_stealth"}


def hosts_alone(flavour: str) -> list[tuple[str, str]]:
    """(module, dotted name) of what only the real host of this kind has."""
    tables = (HOSTS_ALONE, *([FORGE_ALONE] if flavour == "forge" else []))
    return [(module, name) for table in tables for module, names in table.items() for name in names.split()]


def seams(flavour: str) -> list[tuple[str, str]]:
    """(module, dotted name) of everything that this flavour must have."""
    return [(module, name) for table in TABLES[flavour] for module, names in table.items() for name in names.split()]
