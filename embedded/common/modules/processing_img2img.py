"""img2img and inpainting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image, ImageFilter, ImageOps

from modules import devices, images, model_handling, sd_samplers, shared
from modules.processing_base import NOT_YET, StableDiffusionProcessing
from modules.processing_txt2img import pixels_of
from modules.rng import ImageRNG
from modules.sd_denoising import blended
from modules.sd_samplers_common import images_tensor_to_samples

_FILLS = ("fill", "original", "latent noise", "latent nothing")


def create_binary_mask(image: Image.Image, round: bool = True) -> Image.Image:
    """The alpha channel where it says anything, else the brightness."""
    alpha = image.getchannel("A") if image.mode == "RGBA" else None
    if alpha is None or alpha.getextrema() == (255, 255):
        return image.convert("L")
    return alpha.point([255 * (level > 128) for level in range(256)]) if round else alpha


def _without(image: Image.Image, mask: Image.Image) -> Image.Image:
    """The picture, transparent where it will be painted; premultiplied, so that blurs mix no black in."""
    whole, nothing = image.convert("RGBA").convert("RGBa"), Image.new("RGBa", image.size)
    return Image.composite(nothing, whole, mask.convert("L"))


def _filled(image: Image.Image, mask: Image.Image) -> Image.Image:
    """Masked parts filled with blurred colours of what lies around, finer blurs over coarser ones."""
    around, result = _without(image, mask), Image.new("RGBA", image.size)
    for radius in (256, 64, 16, 16, 4, 4, 2, 0):
        result.alpha_composite(around.filter(ImageFilter.GaussianBlur(radius)).convert("RGBA"))
    return result.convert("RGB")


@dataclass(repr=False)
class StableDiffusionProcessingImg2Img(StableDiffusionProcessing):
    init_images: list = None  # type: ignore[assignment,type-arg]
    resize_mode: int = 0
    denoising_strength: float = 0.75
    mask: Any = None
    mask_blur: int = 4
    inpaint_full_res: bool = False  # the whole picture is all that is played here
    mask_round: bool = True
    inpainting_fill: int = 0
    inpainting_mask_invert: int = 0
    force_task_id: str = None  # type: ignore[assignment]

    image_mask = image_conditioning = NOT_YET

    def __post_init__(self) -> None:
        super().__post_init__()
        self.image_mask, self.mask = self.mask, None  # from here `mask` is the latent's

    def _prepare_mask(self) -> Image.Image | None:
        """At working size. Where it is blurred it belongs wholly to the painted part, so that no seam shows."""
        if self.image_mask is None:
            return None
        mask = create_binary_mask(self.image_mask, round=self.mask_round)
        if self.inpainting_mask_invert:
            self.note("Mask mode", "Inpaint not masked")
            mask = ImageOps.invert(mask)
        if self.mask_blur > 0:
            self.note("Mask blur", self.mask_blur)
            mask = mask.filter(ImageFilter.GaussianBlur(self.mask_blur))
        self.overlay_images = []
        mask = images.resize_image(self.resize_mode, mask, self.width, self.height)
        self.mask_for_overlay = mask.point([min(2 * level, 255) for level in range(256)])
        return mask

    def _prepared(self, image: Image.Image, mask: Image.Image | None) -> torch.Tensor:
        """Pixels [3, H, W] in 0..1 of one start picture at working size; its unmasked part goes to `overlay_images`."""
        picture = images.resize_image(self.resize_mode, images.flatten(image), self.width, self.height)
        if mask is None:
            return pixels_of(picture)
        self.overlay_images.append(_without(picture, self.mask_for_overlay).convert("RGBA"))
        return pixels_of(picture if self.inpainting_fill == 1 else _filled(picture, mask))

    def init(self, all_prompts: Any, all_seeds: Any, all_subseeds: Any) -> None:
        """Once a request: start latents and masks. RuntimeError for more pictures than a batch has."""
        self.note("Denoising strength", self.denoising_strength)
        self.sampler = sd_samplers.create_sampler(self.sampler_name, self.sd_model)
        mask = self._prepare_mask()
        prepared = [self._prepared(image, mask) for image in self.init_images]
        if len(prepared) > self.batch_size:
            raise RuntimeError(f"{len(prepared)} start pictures were given for a batch of {self.batch_size}")
        if len(prepared) == 1:
            prepared *= self.batch_size
            self.overlay_images = self.overlay_images and self.overlay_images * self.batch_size
        self.batch_size = len(prepared)
        pictures = torch.stack(prepared).to(shared.device, devices.dtype_vae)
        self.init_latent = images_tensor_to_samples(pictures, None, self.sd_model)
        if mask is not None:
            self._mask_latent(mask, all_seeds)
        level = None if mask is None else pixels_of(mask)[None, :1]
        level = level.round() if level is not None and self.mask_round else level
        self.image_conditioning = self.img2img_image_conditioning(pictures * 2 - 1, self.init_latent, level)

    def _mask_latent(self, mask: Image.Image, all_seeds: Any) -> None:
        """`mask` is 1 where the original stays, `nmask` where it is painted; both [C, h, w]."""
        count, channels, h, w = self.init_latent.shape
        painted = pixels_of(mask.convert("RGB").resize((w, h)))[:1].expand(channels, -1, -1)
        self.nmask = (painted.round() if self.mask_round else painted).to(shared.device, devices.dtype)
        self.mask = 1.0 - self.nmask
        if self.inpainting_fill != 1:
            self.note("Masked content", _FILLS[self.inpainting_fill])
        if self.inpainting_fill > 1:
            self.init_latent = self.init_latent * self.mask
        if self.inpainting_fill == 2:
            self.init_latent = self.init_latent + ImageRNG((channels, h, w), all_seeds[:count]).next() * self.nmask

    def sample(self, conditioning: Any, unconditional_conditioning: Any, **of_batch: Any) -> Any:
        conds, noise = (conditioning, unconditional_conditioning), self.rng.next()
        model_handling.before_pass(self)
        self.before_sampling(self.init_latent, noise, *conds)
        picture = self.image_conditioning
        made = self.sampler.sample_img2img(self, self.init_latent, noise, *conds, image_conditioning=picture)
        return blended(self, made)
