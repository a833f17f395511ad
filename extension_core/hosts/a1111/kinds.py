"""Kinds of models by what they take beside latent and prompt, and which requests A1111 can make with each.

It tells them by `conditioning_key` of the wrapped U-Net and `cond_stage_key` of the model (modules/processing.py,
`img2img_image_conditioning` and `txt2img_image_conditioning`, 1.10.1). What it fails at by itself is refused by name.
"""

from __future__ import annotations

from typing import Any

from modules import shared

from extension_core.errors import DiversityError

# Text alone; a picture beside the latent (two keys); a picture that a vision model has read (unCLIP).
_KNOWN = ("crossattn", "hybrid", "concat", "crossattn-adm")
_WITH_A_PICTURE = ("hybrid", "concat")


def check_kind(model: Any) -> None:
    """Refuse a model to which the host gives no conditioning of its kind.

    Raises:
        DiversityError: says which kind it is, as ldm names it.
    """
    key = getattr(model.model, "conditioning_key", "crossattn")
    if key not in _KNOWN:
        raise DiversityError(
            f"The loaded checkpoint '{_name(model)}' is conditioned by '{key}', as Stability's upscalers are, and this "
            "WebUI has nothing of that kind to give; load another checkpoint."
        )


def check_request(model: Any, p: Any) -> None:
    """Refuse what the host cannot make with a model of this kind.

    Raises:
        DiversityError: says what to choose instead.
    """
    kind = _edits_pictures(model)
    if kind and hasattr(p, "enable_hr"):
        raise DiversityError(
            f"The loaded checkpoint '{_name(model)}' is {kind}, which makes an image of an image; use img2img."
        )
    if _is_inpainting(model) and _enlarges_latents(p):
        raise DiversityError(
            f"The loaded checkpoint '{_name(model)}' is an inpainting model, with which this WebUI's hires fix cannot "
            f"enlarge latents; choose an upscaler that is not one of {', '.join(shared.latent_upscale_modes)}."
        )


def _edits_pictures(model: Any) -> str:
    if getattr(model, "cond_stage_key", None) == "edit":
        return "an InstructPix2Pix model"
    return "a depth model" if hasattr(model, "depth_model") else ""


def _is_inpainting(model: Any) -> bool:
    key = getattr(model.model, "conditioning_key", "crossattn")
    return key in _WITH_A_PICTURE or bool(getattr(model, "is_sdxl_inpaint", False))


def _enlarges_latents(p: Any) -> bool:
    """Whether the hires pass starts from enlarged latents; the host then takes a picture of the first pass's size."""
    if not getattr(p, "enable_hr", False) or shared.opts.inpainting_mask_weight < 1.0:
        return False
    upscaler = getattr(p, "hr_upscaler", None) or shared.latent_upscale_default_mode
    return upscaler in shared.latent_upscale_modes


def _name(model: Any) -> str:
    return model.sd_checkpoint_info.name
