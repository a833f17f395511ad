"""Kinds of models by the channels into their U-Nets, and which requests Forge can make with each.

It takes every model of more than 4 channels for an inpainting model (`BASE.inpaint_model` in huggingface_guess'
model_list.py) and adds a mask and a picture, 5 channels, to the latent (modules/processing.py, dfdcbab6).
"""

from __future__ import annotations

from typing import Any

from modules import shared

from extension_core.errors import DiversityError

_LATENT, _INPAINTING = 4, 9
_OTHERS = {5: "a depth model", 7: "an upscaler", 8: "an InstructPix2Pix model"}


def _channels() -> int:
    """Of the live U-Net; networks of other kinds, which are refused elsewhere, have no such blocks."""
    blocks = getattr(shared.sd_model.forge_objects.unet.model.diffusion_model, "input_blocks", None)
    return _LATENT if blocks is None else blocks[0][0].weight.shape[1]


def check_kind() -> None:
    """Refuse a loaded model to which the host gives no conditioning of its kind.

    Raises:
        DiversityError: says which kind it is.
    """
    channels = _channels()
    if channels not in (_LATENT, _INPAINTING):
        kind = _OTHERS.get(channels, "of a kind that Diversity Distillation does not know")
        raise DiversityError(
            f"The loaded checkpoint '{_name()}' is {kind} ({channels} input channels), and this WebUI has nothing of "
            "that kind to give; load another checkpoint."
        )


def check_request(p: Any) -> None:
    """Refuse what the host cannot make with a model of this kind.

    Raises:
        DiversityError: says what to choose instead.
    """
    if _channels() == _INPAINTING and _enlarges_latents(p):
        raise DiversityError(
            f"The loaded checkpoint '{_name()}' is an inpainting model, with which this WebUI's hires fix cannot "
            f"enlarge latents; choose an upscaler that is not one of {', '.join(shared.latent_upscale_modes)}."
        )


def _enlarges_latents(p: Any) -> bool:
    """Whether the hires pass starts from enlarged latents; the host then takes a picture of the first pass's size."""
    if not getattr(p, "enable_hr", False) or shared.opts.inpainting_mask_weight < 1.0:
        return False
    upscaler = getattr(p, "hr_upscaler", None) or shared.latent_upscale_default_mode
    return upscaler in shared.latent_upscale_modes


def _name() -> str:
    return shared.sd_model.sd_checkpoint_info.name
