"""What the adapter needs of A1111."""

from __future__ import annotations

from extension_core.hosts.common.capabilities import lacking

# (module, attribute path) of everything without which a request would run wrong; since A1111 1.9 or 1.10.
NEEDED: tuple[tuple[str, str], ...] = (
    ("modules.ui_components", "InputAccordion"),
    ("modules.scripts", "Script.process_before_every_sampling"),
    ("modules.processing", "StableDiffusionProcessing.comment"),
    ("modules.sd_samplers_common", "setup_img2img_steps"),
    ("modules.sd_samplers_cfg_denoiser", "CFGDenoiser.forward"),
    ("modules.sd_samplers_timesteps", "CompVisSampler.get_timesteps"),
    ("modules.sd_models", "get_closet_checkpoint_match"),
    ("modules.sd_models", "model_data"),
    ("modules.sd_unet", "apply_unet"),
)
NEEDED_SETTINGS = ("skip_early_cond",)


def missing() -> list[str]:
    """Names that the host lacks, in order; empty if the adapter can work."""
    return list(lacking(NEEDED, NEEDED_SETTINGS))
