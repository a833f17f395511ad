"""img2img and inpainting."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps

from modules import devices, images, masking, scripts, sd_samplers, shared
from modules.processing_base import StableDiffusionProcessing
from modules.sd_hijack import model_hijack
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
    x, y, w, h = paste_loc
    base = Image.new("RGBA", dest_size)
    base.paste(images.resize_image(1, image, w, h), (x, y))
    return base


def apply_overlay(image: Image.Image, paste_loc: Any, overlay: Image.Image | None) -> tuple[Image.Image, Image.Image]:
    """Lays the original's unmasked part over the result; returns that and the result without it."""
    if overlay is None:
        return image, image.copy()
    if paste_loc is not None:
        image = uncrop(image, (overlay.width, overlay.height), paste_loc)
    original = image.copy()
    image = image.convert("RGBA")
    image.alpha_composite(overlay)
    return image.convert("RGB"), original


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

    image_mask: Any = field(default=None, init=False)
    nmask: Any = field(default=None, init=False)
    image_conditioning: Any = field(default=None, init=False)
    init_img_hash: Any = field(default=None, init=False)
    mask_for_overlay: Any = field(default=None, init=False)
    init_latent: Any = field(default=None, init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.image_mask = self.mask
        self.mask = None
        if self.initial_noise_multiplier is None:
            self.initial_noise_multiplier = opts.initial_noise_multiplier

    def _blurred_mask(self) -> Image.Image:
        notes = self.extra_generation_params
        mask = create_binary_mask(self.image_mask, round=self.mask_round)
        if self.inpainting_mask_invert:
            mask = ImageOps.invert(mask)
            notes["Mask mode"] = "Inpaint not masked"
        if self.mask_blur_x > 0 or self.mask_blur_y > 0:
            mask = images.gaussian_blur(mask, self.mask_blur_x, self.mask_blur_y)
            notes["Mask blur"] = self.mask_blur
        return mask

    def _prepare_mask(self) -> tuple[Image.Image | None, Any]:
        """The mask at working size, and the box of the picture that is worked on (None for all of it)."""
        if self.image_mask is None:
            return None, None
        mask = self._blurred_mask()
        if not self.inpaint_full_res:
            mask = images.resize_image(self.resize_mode, mask, self.width, self.height)
            stronger = np.clip(np.array(mask).astype(np.float32) * 2, 0, 255).astype(np.uint8)
            self.mask_for_overlay = Image.fromarray(stronger)
            self.overlay_images = []
            return mask, None
        self.mask_for_overlay = mask
        self.overlay_images = []
        region = masking.get_crop_region_v2(mask.convert("L"), self.inpaint_full_res_padding)
        if region is None:
            self.mask_for_overlay = None
            self.inpaint_full_res = False
            model_hijack.comments.append(
                'Unable to perform "Inpaint Only mask" because mask is blank, switch to img2img mode.'
            )
            return None, None
        region = masking.expand_crop_region(region, self.width, self.height, mask.width, mask.height)
        x1, y1, x2, y2 = region
        self.paste_to = (x1, y1, x2 - x1, y2 - y1)
        self.extra_generation_params["Inpaint area"] = "Only masked"
        self.extra_generation_params["Masked area padding"] = self.inpaint_full_res_padding
        return images.resize_image(2, mask.convert("L").crop(region), self.width, self.height), region

    def _prepare_image(self, img: Image.Image, mask: Image.Image | None, region: Any, latent_mask: Any) -> np.ndarray:
        """Pixels float32 [3, H, W] in 0..1 of one start picture at working size; its unmasked part goes to
        `overlay_images`.
        """
        if opts.save_init_img:
            self.init_img_hash = hashlib.md5(img.tobytes()).hexdigest()
            images.save_image(
                img,
                opts.outdir_init_images,
                None,
                forced_filename=self.init_img_hash,
                save_to_dirs=False,
                existing_info=img.info,
            )
        image = images.flatten(img, opts.img2img_background_color)
        if region is None and self.resize_mode != 3:
            image = images.resize_image(self.resize_mode, image, self.width, self.height)
        if mask is not None:
            if self.mask_for_overlay.size != image.size:
                self.mask_for_overlay = images.resize_image(
                    self.resize_mode, self.mask_for_overlay, image.width, image.height
                )
            kept = Image.new("RGBa", image.size)
            kept.paste(image.convert("RGBA").convert("RGBa"), mask=ImageOps.invert(self.mask_for_overlay.convert("L")))
            self.overlay_images.append(kept.convert("RGBA"))
        if region is not None:
            image = images.resize_image(2, image.crop(region), self.width, self.height)
        if mask is not None and self.inpainting_fill != 1:
            image = masking.fill(image, latent_mask)
            if self.inpainting_fill == 0:
                self.extra_generation_params["Masked content"] = "fill"
        return np.moveaxis(np.array(image).astype(np.float32) / 255.0, 2, 0)

    def _as_batch(self, imgs: list[np.ndarray]) -> np.ndarray:
        if len(imgs) == 1:
            if self.overlay_images is not None:
                self.overlay_images = self.overlay_images * self.batch_size
            return np.expand_dims(imgs[0], axis=0).repeat(self.batch_size, axis=0)
        if len(imgs) <= self.batch_size:
            self.batch_size = len(imgs)
            return np.array(imgs)
        raise RuntimeError(f"bad number of images passed: {len(imgs)}; expecting {self.batch_size} or less")

    def _set_latent_masks(self, mask: Image.Image, all_seeds: Any) -> None:
        """`mask` is 1 where the original stays, `nmask` where it is painted; both [4, h, w]."""
        channels, h, w = self.init_latent.shape[1:]
        painted = np.moveaxis(np.array(mask.convert("RGB").resize((w, h)), dtype=np.float32), 2, 0)[0] / 255
        painted = np.tile((np.around(painted) if self.mask_round else painted)[None], (channels, 1, 1))
        self.mask = torch.asarray(1.0 - painted).to(shared.device).type(devices.dtype)
        self.nmask = torch.asarray(painted).to(shared.device).type(devices.dtype)
        if self.inpainting_fill == 2:
            noise = create_random_tensors(self.init_latent.shape[1:], all_seeds[: self.init_latent.shape[0]])
            self.init_latent = self.init_latent * self.mask + noise * self.nmask
            self.extra_generation_params["Masked content"] = "latent noise"
        elif self.inpainting_fill == 3:
            self.init_latent = self.init_latent * self.mask
            self.extra_generation_params["Masked content"] = "latent nothing"

    def init(self, all_prompts: Any, all_seeds: Any, all_subseeds: Any) -> None:
        self.extra_generation_params["Denoising strength"] = self.denoising_strength
        self.image_cfg_scale = self.image_cfg_scale if shared.sd_model.cond_stage_key == "edit" else None  # type: ignore[assignment]
        self.sampler = sd_samplers.create_sampler(self.sampler_name, self.sd_model)
        mask, region = self._prepare_mask()
        latent_mask = self.latent_mask if self.latent_mask is not None else mask
        batch = self._as_batch([self._prepare_image(img, mask, region, latent_mask) for img in self.init_images])
        image = torch.from_numpy(batch).to(shared.device, dtype=devices.dtype_vae)
        self.init_latent = images_tensor_to_samples(image, None, self.sd_model)
        devices.torch_gc()
        if self.resize_mode == 3:
            size = (self.height // opt_f, self.width // opt_f)
            self.init_latent = torch.nn.functional.interpolate(self.init_latent, size=size, mode="bilinear")
        if mask is not None:
            self._set_latent_masks(latent_mask, all_seeds)
        self.image_conditioning = self.img2img_image_conditioning(
            image * 2 - 1, self.init_latent, mask, self.mask_round
        )

    def sample(
        self,
        conditioning: Any,
        unconditional_conditioning: Any,
        seeds: Any,
        subseeds: Any,
        subseed_strength: float,
        prompts: Any,
    ) -> Any:
        x = self.rng.next()
        if self.initial_noise_multiplier != 1.0:
            self.extra_generation_params["Noise multiplier"] = self.initial_noise_multiplier
            x *= self.initial_noise_multiplier
        if self.scripts is not None:
            self.scripts.process_before_every_sampling(
                p=self, x=self.init_latent, noise=x, c=conditioning, uc=unconditional_conditioning
            )
        samples = self.sampler.sample_img2img(
            self,
            self.init_latent,
            x,
            conditioning,
            unconditional_conditioning,
            image_conditioning=self.image_conditioning,
        )
        if self.mask is not None:
            samples = self._final_blend(samples)
        del x
        devices.torch_gc()
        return samples

    def _final_blend(self, samples: torch.Tensor) -> torch.Tensor:
        blended = samples * self.nmask + self.init_latent * self.mask
        if self.scripts is not None:
            args = scripts.MaskBlendArgs(samples, self.nmask, self.init_latent, self.mask, blended)
            self.scripts.on_mask_blend(self, args)
            blended = args.blended_latent
        return blended

    def get_token_merging_ratio(self, for_hr: bool = False) -> float:
        overridden = "token_merging_ratio" in self.override_settings and opts.token_merging_ratio
        return self.token_merging_ratio or overridden or opts.token_merging_ratio_img2img or opts.token_merging_ratio


def _mask_blur(self: StableDiffusionProcessingImg2Img) -> int | None:
    return self.mask_blur_x if self.mask_blur_x == self.mask_blur_y else None


def _set_mask_blur(self: StableDiffusionProcessingImg2Img, value: Any) -> None:
    if isinstance(value, int):
        self.mask_blur_x = self.mask_blur_y = value


# One number for both directions, set after the dataclass has taken the field.
StableDiffusionProcessingImg2Img.mask_blur = property(_mask_blur, _set_mask_blur)  # type: ignore[assignment]
