"""img2img and inpainting."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps

from modules import devices, images, masking, model_handling, scripts, sd_samplers, shared
from modules.processing_base import StableDiffusionProcessing
from modules.sd_latents import create_random_tensors, opt_f
from modules.sd_samplers_common import images_tensor_to_samples
from modules.shared import opts


def create_binary_mask(image: Image.Image, round: bool = True) -> Image.Image:
    """The alpha channel where it says anything, else the brightness."""
    if image.mode == "RGBA" and image.getextrema()[-1] != (255, 255):
        alpha = image.split()[-1].convert("L")
        return alpha.point(lambda x: 255 if x > 128 else 0) if round else alpha
    return image.convert("L")


def uncrop(image: Image.Image, dest_size: tuple[int, int], paste_loc: tuple[int, int, int, int]) -> Image.Image:
    """The worked-on region back in its place, all around it transparent."""
    left, top, width, height = paste_loc
    canvas = Image.new("RGBA", dest_size)
    canvas.paste(images.resize_image(1, image, width, height), (left, top))
    return canvas


def apply_overlay(image: Image.Image, paste_loc: Any, overlay: Image.Image | None) -> tuple[Image.Image, Image.Image]:
    """Lays the original's unmasked part over the result; returns that and the result without it."""
    if overlay is None:
        return image, image.copy()
    bare = image.copy() if paste_loc is None else uncrop(image, overlay.size, paste_loc)
    covered = bare.convert("RGBA")
    covered.alpha_composite(overlay)
    return covered.convert("RGB"), bare


def _unmasked_part(image: Image.Image, mask: Image.Image) -> Image.Image:
    """The picture, transparent where it will be painted."""
    part = Image.new("RGBa", image.size)
    part.paste(image.convert("RGBA").convert("RGBa"), mask=ImageOps.invert(mask.convert("L")))
    return part.convert("RGBA")


def _doubled(mask: Image.Image) -> Image.Image:
    """A blurred edge belongs wholly to the painted part, so that no seam shows."""
    brighter = np.array(mask).astype(np.float32) * 2
    return Image.fromarray(np.clip(brighter, 0, 255).astype(np.uint8))


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
    latent_mask: Any = None
    force_task_id: str = None  # type: ignore[assignment]

    image_mask: Any = field(init=False, default=None)
    nmask: Any = field(init=False, default=None)
    image_conditioning: Any = field(init=False, default=None)
    init_img_hash: Any = field(init=False, default=None)
    mask_for_overlay: Any = field(init=False, default=None)
    init_latent: Any = field(init=False, default=None)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.image_mask, self.mask = self.mask, None  # from here `mask` is the latent's
        if self.initial_noise_multiplier is None:
            self.initial_noise_multiplier = opts.initial_noise_multiplier

    def _note(self, name: str, value: Any) -> None:
        self.extra_generation_params[name] = value

    def _blurred_mask(self) -> Image.Image:
        mask = create_binary_mask(self.image_mask, round=self.mask_round)
        if self.inpainting_mask_invert:
            self._note("Mask mode", "Inpaint not masked")
            mask = ImageOps.invert(mask)
        radii = (self.mask_blur_x, self.mask_blur_y)
        if max(radii) <= 0:
            return mask
        self._note("Mask blur", self.mask_blur)
        return images.gaussian_blur(mask, *radii)

    def _prepare_mask(self) -> tuple[Image.Image | None, Any]:
        """The mask at working size, and the box of the picture that is worked on (None for all of it)."""
        if self.image_mask is None:
            return None, None
        mask = self._blurred_mask()
        self.overlay_images = []
        if self.inpaint_full_res:
            self.mask_for_overlay = mask
            return self._crop_to_mask(mask)
        mask = images.resize_image(self.resize_mode, mask, self.width, self.height)
        self.mask_for_overlay = _doubled(mask)
        return mask, None

    def _crop_to_mask(self, mask: Image.Image) -> tuple[Image.Image | None, Any]:
        """ "Only masked": a blank mask turns it into plain img2img."""
        brightness, padding = mask.convert("L"), self.inpaint_full_res_padding
        tight = masking.get_crop_region_v2(brightness, padding)
        if tight is None:
            self.mask_for_overlay, self.inpaint_full_res = None, False
            model_handling.comment("The mask is blank, so that nothing is inpainted: this was plain img2img.")
            return None, None
        region = masking.expand_crop_region(tight, self.width, self.height, *mask.size)
        left, top, right, bottom = region
        self.paste_to = (left, top, right - left, bottom - top)
        self._note("Inpaint area", "Only masked")
        self._note("Masked area padding", padding)
        return images.resize_image(2, brightness.crop(region), self.width, self.height), region

    def _save_start_picture(self, img: Image.Image) -> None:
        name = hashlib.md5(img.tobytes()).hexdigest()
        self.init_img_hash = name
        where: dict[str, Any] = {"forced_filename": name, "save_to_dirs": False}
        images.save_image(img, opts.outdir_init_images, None, existing_info=img.info, **where)

    def _resized(self, image: Image.Image) -> Image.Image:
        return images.resize_image(self.resize_mode, image, self.width, self.height)

    def _keep_unmasked(self, image: Image.Image) -> None:
        if image.size != self.mask_for_overlay.size:
            self.mask_for_overlay = images.resize_image(self.resize_mode, self.mask_for_overlay, *image.size)
        self.overlay_images.append(_unmasked_part(image, self.mask_for_overlay))

    def _prepare_image(self, img: Image.Image, mask: Image.Image | None, region: Any, latent_mask: Any) -> np.ndarray:
        """Pixels float32 [3, H, W] in 0..1 of one start picture at working size; its unmasked part goes to
        `overlay_images`.
        """
        if opts.save_init_img:
            self._save_start_picture(img)
        picture = images.flatten(img, opts.img2img_background_color)
        if region is None and self.resize_mode != 3:  # mode 3 resizes the latent
            picture = self._resized(picture)
        if mask is not None:
            self._keep_unmasked(picture)
        if region is not None:
            picture = images.resize_image(2, picture.crop(region), self.width, self.height)
        if mask is not None and self.inpainting_fill != 1:
            picture = masking.fill(picture, latent_mask)
            if self.inpainting_fill == 0:
                self._note("Masked content", "fill")
        return np.moveaxis(np.array(picture).astype(np.float32) / 255.0, 2, 0)

    def _as_batch(self, pictures: list[np.ndarray]) -> np.ndarray:
        """[B, 3, H, W]: one picture is repeated, several are the batch."""
        count = len(pictures)
        if count == 1:
            kept = self.overlay_images
            self.overlay_images = None if kept is None else kept * self.batch_size  # type: ignore[assignment]
            return np.stack(pictures * self.batch_size)
        if count > self.batch_size:
            raise RuntimeError(f"{count} start pictures were given for a batch of {self.batch_size}")
        self.batch_size = count
        return np.array(pictures)

    def _set_latent_masks(self, mask: Image.Image, all_seeds: Any) -> None:
        """`mask` is 1 where the original stays, `nmask` where it is painted; both [4, h, w]."""
        channels, h, w = self.init_latent.shape[1:]
        painted = np.moveaxis(np.array(mask.convert("RGB").resize((w, h)), dtype=np.float32), 2, 0)[0] / 255
        painted = np.tile((np.around(painted) if self.mask_round else painted)[None], (channels, 1, 1))
        self.mask, self.nmask = (
            torch.asarray(part).to(shared.device).type(devices.dtype) for part in (1.0 - painted, painted)
        )
        if self.inpainting_fill in (2, 3):
            self._clear_painted(all_seeds)

    def _clear_painted(self, all_seeds: Any) -> None:
        """Nothing of the original is left under the mask, in the latent: noise in its place, or zeros."""
        kept = self.init_latent * self.mask
        if self.inpainting_fill == 3:
            self._note("Masked content", "latent nothing")
            self.init_latent = kept
            return
        batch, *shape = self.init_latent.shape
        noise = create_random_tensors(shape, all_seeds[:batch])
        self._note("Masked content", "latent noise")
        self.init_latent = kept + noise * self.nmask

    def _encoded(self, pictures: torch.Tensor) -> torch.Tensor:
        latents = images_tensor_to_samples(pictures, None, self.sd_model)
        devices.torch_gc()
        if self.resize_mode != 3:
            return latents
        size = (self.height // opt_f, self.width // opt_f)
        return torch.nn.functional.interpolate(latents, size=size, mode="bilinear")

    def init(self, all_prompts: Any, all_seeds: Any, all_subseeds: Any) -> None:
        self._note("Denoising strength", self.denoising_strength)
        if not model_handling.is_edit_model():
            self.image_cfg_scale = None  # type: ignore[assignment]
        self.sampler = sd_samplers.create_sampler(self.sampler_name, self.sd_model)
        mask, region = self._prepare_mask()
        latent_mask = mask if self.latent_mask is None else self.latent_mask
        pixels = self._as_batch([self._prepare_image(img, mask, region, latent_mask) for img in self.init_images])
        pictures = torch.from_numpy(pixels).to(shared.device, dtype=devices.dtype_vae)
        self.init_latent = self._encoded(pictures)
        if mask is not None:
            self._set_latent_masks(latent_mask, all_seeds)
        signed = pictures * 2 - 1
        self.image_conditioning = self.img2img_image_conditioning(signed, self.init_latent, mask, self.mask_round)

    def _start_noise(self) -> torch.Tensor:
        noise, factor = self.rng.next(), self.initial_noise_multiplier
        if factor == 1.0:
            return noise
        self._note("Noise multiplier", factor)
        return noise * factor

    def sample(
        self,
        conditioning: Any,
        unconditional_conditioning: Any,
        seeds: Any,
        subseeds: Any,
        subseed_strength: float,
        prompts: Any,
    ) -> Any:
        noise = self._start_noise()
        model_handling.before_pass(self)
        if self.scripts is not None:
            conds = {"c": conditioning, "uc": unconditional_conditioning}
            self.scripts.process_before_every_sampling(p=self, x=self.init_latent, noise=noise, **conds)
        noise = model_handling.pass_noise(self, noise)
        latents = self.sampler.sample_img2img(
            self,
            self.init_latent,
            noise,
            conditioning,
            unconditional_conditioning,
            image_conditioning=self.image_conditioning,
        )
        if self.mask is not None:
            latents = self._final_blend(latents)
        del noise
        devices.torch_gc()
        return latents

    def _final_blend(self, latents: torch.Tensor) -> torch.Tensor:
        """The start's latent where it is not painted. Extensions may blend otherwise."""
        blend = latents * self.nmask + self.init_latent * self.mask
        if self.scripts is None:
            return blend
        args = scripts.MaskBlendArgs(latents, self.nmask, self.init_latent, self.mask, blend)
        self.scripts.on_mask_blend(self, args)
        return args.blended_latent

    def get_token_merging_ratio(self, for_hr: bool = False) -> float:
        asked_for = opts.token_merging_ratio if "token_merging_ratio" in self.override_settings else 0
        return self.token_merging_ratio or asked_for or opts.token_merging_ratio_img2img or opts.token_merging_ratio


def _mask_blur(self: StableDiffusionProcessingImg2Img) -> int | None:
    return self.mask_blur_x if self.mask_blur_x == self.mask_blur_y else None


def _set_mask_blur(self: StableDiffusionProcessingImg2Img, value: Any) -> None:
    if isinstance(value, int):
        self.mask_blur_x = self.mask_blur_y = value


# One number for both directions, set after the dataclass has taken the field.
StableDiffusionProcessingImg2Img.mask_blur = property(_mask_blur, _set_mask_blur)  # type: ignore[assignment]
