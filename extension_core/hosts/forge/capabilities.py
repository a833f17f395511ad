"""What the adapter needs of Forge; forks that moved or renamed one of these are told which."""

from __future__ import annotations

from extension_core.hosts.common.capabilities import lacking

# (module, attribute path) of everything without which a request would run wrong (dfdcbab6).
NEEDED: tuple[tuple[str, str], ...] = (
    ("backend.loader", "load_huggingface_component"),
    ("backend.loader", "dir_path"),
    ("backend.patcher.unet", "UnetPatcher.from_model"),
    ("backend.patcher.unet", "UnetPatcher.clone"),
    # Its slot for what is loaded together with the U-Net is an attribute of objects, so its method is asked for.
    ("backend.patcher.unet", "UnetPatcher.add_extra_model_patcher_during_sampling"),
    ("backend.patcher.base", "ModelPatcher.has_online_lora"),
    ("backend.diffusion_engine.base", "ForgeObjects.shallow_copy"),
    ("backend.patcher.lora", "load_lora"),
    ("backend.patcher.lora", "merge_lora_to_weight"),
    ("backend.patcher.lora", "model_lora_keys_unet"),
    ("backend.patcher.lora", "model_lora_keys_clip"),
    ("backend.memory_management", "unload_model_clones"),
    ("backend.memory_management", "soft_empty_cache"),
    ("backend.memory_management", "load_models_gpu"),
    ("backend.memory_management", "current_loaded_models"),
    ("backend.memory_management", "module_size"),
    ("backend.memory_management", "minimum_inference_memory"),
    ("backend.memory_management", "supports_cast"),
    ("backend.patcher.base", "ModelPatcher.forge_unpatch_model"),
    ("backend.utils", "nested_move_to_device"),
    ("backend.modules.k_prediction", "rescale_zero_terminal_snr_sigmas"),
    ("modules.ui_components", "InputAccordion"),
    ("modules.scripts", "Script.process_before_every_sampling"),
    ("modules.processing", "StableDiffusionProcessing.comment"),
    ("modules.processing", "StableDiffusionProcessing.get_conds_with_caching"),
    ("modules.shared", "latent_upscale_modes"),
    ("modules.sd_samplers_common", "setup_img2img_steps"),
    ("modules.sd_samplers_cfg_denoiser", "CFGDenoiser.forward"),
    ("modules.sd_samplers_timesteps", "CompVisSampler.get_timesteps"),
    ("modules.sd_models", "get_closet_checkpoint_match"),
    ("modules.sd_models", "model_data"),
    ("modules.sd_models", "forge_model_reload"),
)


def missing() -> list[str]:
    """Names that the host lacks, in order; empty if the adapter can work."""
    return list(lacking(NEEDED, ()))
