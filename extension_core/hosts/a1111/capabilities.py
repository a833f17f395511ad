"""Does this host offer what the adapter needs? Asked by capability, never by version."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator

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
NEEDED_OPTION = "skip_early_cond"


def missing() -> list[str]:
    """Names that the host lacks, in order; empty if the adapter can work."""
    return list(_missing())


def _missing() -> Iterator[str]:
    for module_name, path in NEEDED:
        if not _has(module_name, path):
            yield f"{module_name}.{path}"
    if NEEDED_OPTION not in _option_names():
        yield f"the setting {NEEDED_OPTION}"


def _has(module_name: str, path: str) -> bool:
    try:
        value: object = importlib.import_module(module_name)
        for part in path.split("."):
            value = getattr(value, part)
    except (ImportError, AttributeError):
        return False
    return True


def _option_names() -> Iterable[str]:
    from modules import shared

    return getattr(getattr(shared, "opts", None), "data_labels", {})
