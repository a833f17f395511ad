"""img2img and inpainting."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from PIL import Image, ImageFilter, ImageOps

from modules import devices, images, model_handling, sd_samplers, shared
from modules.processing_base import StableDiffusionProcessing
from modules.processing_txt2img import pixels_of
from modules.rng import ImageRNG, opt_f
from modules.sd_denoising import blended
from modules.sd_samplers_common import images_tensor_to_samples
from modules.shared import opts

_FILLS = ("fill", "original", "latent noise", "latent nothing")
Box = tuple[int, int, int, int]


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
    for radius, times in {256: 1, 64: 1, 16: 2, 4: 4, 2: 2, 0: 1}.items():
        layer = around.filter(ImageFilter.GaussianBlur(radius)).convert("RGBA")
        for _ in range(times):
            result.alpha_composite(layer)
    return result.convert("RGB")


def _region(mask: Image.Image, padding: int, width: int, height: int) -> Box | None:
    """The box around all that is masked, with padding, widened to the shape in which it will be worked on; None where
    nothing is masked.
    """
    box = mask.getbbox()
    if box is None:
        return None
    limits = mask.size
    spans = [(max(box[k] - padding, 0), min(box[k + 2] + padding, limits[k])) for k in (0, 1)]
    sides = [high - low for low, high in spans]
    k = 1 if sides[0] * height > sides[1] * width else 0
    missing = int(sides[1 - k] * (width, height)[k] / (width, height)[1 - k]) - sides[k]
    low, high = spans[k][0] - missing // 2, spans[k][1] + missing - missing // 2
    shift = min(limits[k] - high, 0) or max(-low, 0)
    spans[k] = (max(low + shift, 0), min(high + shift, limits[k]))
    return spans[0][0], spans[1][0], spans[0][1], spans[1][1]


@dataclass(repr=False)
class StableDiffusionProcessingImg2Img(StableDiffusionProcessing):
    init_images: list = None  # type: ignore[assignment,type-arg]
    resize_mode: int = 0
    denoising_strength: float = 0.75
    image_cfg_scale: float = None  # type: ignore[assignment]
    mask: Any = None
    mask_blur_x: int = 4
    mask_blur_y: int = 4
    mask_blur: int = None  # type: ignore[assignment]
    mask_round: bool = True
    inpainting_fill: int = 0
    inpaint_full_res: bool = True
    inpaint_full_res_padding: int = 0
    inpainting_mask_invert: int = 0
    initial_noise_multiplier: float = None  # type: ignore[assignment]
    force_task_id: str = None  # type: ignore[assignment]

    image_mask: Any = field(init=False, default=None)
    nmask: Any = field(init=False, default=None)
    image_conditioning: Any = field(init=False, default=None)
    mask_for_overlay: Any = field(init=False, default=None)
    init_latent: Any = field(init=False, default=None)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.image_mask, self.mask = self.mask, None  # from here `mask` is the latent's
        if self.mask_blur is not None:
            self.mask_blur_x = self.mask_blur_y = self.mask_blur

    def _prepare_mask(self) -> tuple[Image.Image | None, Box | None]:
        """The mask at working size, and the box of the picture that is worked on (None for all of it)."""
        if self.image_mask is None:
            return None, None
        mask = create_binary_mask(self.image_mask, round=self.mask_round)
        if self.inpainting_mask_invert:
            self.note("Mask mode", "Inpaint not masked")
            mask = ImageOps.invert(mask)
        if self.mask_blur_x > 0 or self.mask_blur_y > 0:
            self.note("Mask blur", self.mask_blur_x)
            mask = images.gaussian_blur(mask, self.mask_blur_x, self.mask_blur_y)
        self.overlay_images = []
        if not self.inpaint_full_res:
            mask = images.resize_image(self.resize_mode, mask, self.width, self.height)
            # a blurred edge belongs wholly to the painted part, so that no seam shows
            self.mask_for_overlay = mask.point([min(2 * level, 255) for level in range(256)])
            return mask, None
        region = _region(mask, self.inpaint_full_res_padding, self.width, self.height)
        if region is None:  # a blank mask: this becomes plain img2img
            self.comment("The mask is blank, so that nothing is inpainted: this was plain img2img.")
            return None, None
        self.mask_for_overlay = mask
        self.paste_to = (region[0], region[1], region[2] - region[0], region[3] - region[1])
        self.note("Inpaint area", "Only masked")
        self.note("Masked area padding", self.inpaint_full_res_padding)
        return images.resize_image(2, mask.crop(region), self.width, self.height), region

    def _prepared(self, image: Image.Image, mask: Image.Image | None, region: Box | None) -> torch.Tensor:
        """Pixels [3, H, W] in 0..1 of one start picture at working size; its unmasked part goes to `overlay_images`."""
        picture = images.flatten(image, opts.img2img_background_color)
        if region is None and self.resize_mode != 3:  # mode 3 resizes the latent
            picture = images.resize_image(self.resize_mode, picture, self.width, self.height)
        if mask is None:
            return pixels_of(picture)
        if picture.size != self.mask_for_overlay.size:
            self.mask_for_overlay = images.resize_image(self.resize_mode, self.mask_for_overlay, *picture.size)
        self.overlay_images.append(_without(picture, self.mask_for_overlay).convert("RGBA"))
        if region is not None:
            picture = images.resize_image(2, picture.crop(region), self.width, self.height)
        return pixels_of(picture if self.inpainting_fill == 1 else _filled(picture, mask))

    def init(self, all_prompts: Any, all_seeds: Any, all_subseeds: Any) -> None:
        """Once a request: start latents and masks. RuntimeError for more pictures than a batch has."""
        self.note("Denoising strength", self.denoising_strength)
        self.sampler = sd_samplers.create_sampler(self.sampler_name, self.sd_model)
        mask, region = self._prepare_mask()
        prepared = [self._prepared(image, mask, region) for image in self.init_images]
        if len(prepared) > self.batch_size:
            raise RuntimeError(f"{len(prepared)} start pictures were given for a batch of {self.batch_size}")
        if len(prepared) == 1:
            prepared *= self.batch_size
            self.overlay_images = self.overlay_images and self.overlay_images * self.batch_size
        self.batch_size = len(prepared)
        pictures = torch.stack(prepared).to(shared.device, devices.dtype_vae)
        self.init_latent = images_tensor_to_samples(pictures, None, self.sd_model)
        if self.resize_mode == 3:
            size = (self.height // opt_f, self.width // opt_f)
            self.init_latent = torch.nn.functional.interpolate(self.init_latent, size=size, mode="bilinear")
        if mask is not None:
            self._mask_latent(mask, all_seeds)
        self.image_conditioning = self.img2img_image_conditioning(
            pictures * 2 - 1, self.init_latent, mask, self.mask_round
        )

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

    def sample(
        self,
        conditioning: Any,
        unconditional_conditioning: Any,
        seeds: Any,
        subseeds: Any,
        subseed_strength: float,
        prompts: Any,
    ) -> Any:
        conds, noise = (conditioning, unconditional_conditioning), self.rng.next()
        factor = self.initial_noise_multiplier
        if factor not in (None, 1.0):
            self.note("Noise multiplier", factor)
            noise = noise * factor
        model_handling.before_pass(self)
        self.before_sampling(self.init_latent, noise, *conds)
        picture = self.image_conditioning
        return blended(
            self, self.sampler.sample_img2img(self, self.init_latent, noise, *conds, image_conditioning=picture)
        )
