"""txt2img, with the hires pass, which runs inside `sample`."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from PIL import Image

from modules import devices, extra_networks, images, prompt_parser, rng, sd_models, sd_samplers, shared
from modules.processed import create_infotext
from modules.processing_base import StableDiffusionProcessing
from modules.sd_latents import decode_latent_batch, opt_f
from modules.sd_samplers_common import decode_first_stage, images_tensor_to_samples
from modules.shared import opts, state


def old_hires_fix_first_pass_dimensions(width: int, height: int) -> tuple[int, int]:
    """A first pass of about 512 x 512 pixels for a picture of the given size."""
    scale = math.sqrt(512 * 512 / (width * height))
    return math.ceil(scale * width / 64) * 64, math.ceil(scale * height / 64) * 64


def _hr_prompt_note(p: Any, index: int, prompt_text: str, **kwargs: Any) -> str | None:
    return p.all_hr_prompts[index] if p.all_hr_prompts[index] != prompt_text else None


def _hr_negative_prompt_note(p: Any, index: int, negative_prompt: str, **kwargs: Any) -> str | None:
    return p.all_hr_negative_prompts[index] if p.all_hr_negative_prompts[index] != negative_prompt else None


def _to_image(x_sample: torch.Tensor) -> Image.Image:
    return Image.fromarray((255.0 * np.moveaxis(x_sample.cpu().numpy(), 0, 2)).astype(np.uint8))


@dataclass(repr=False)
class StableDiffusionProcessingTxt2Img(StableDiffusionProcessing):
    enable_hr: bool = False
    denoising_strength: float = 0.75
    firstphase_width: int = 0
    firstphase_height: int = 0
    hr_scale: float = 2.0
    hr_upscaler: str = None  # type: ignore[assignment]
    hr_second_pass_steps: int = 0
    hr_resize_x: int = 0
    hr_resize_y: int = 0
    hr_checkpoint_name: str = None  # type: ignore[assignment]
    hr_sampler_name: str = None  # type: ignore[assignment]
    hr_scheduler: str = None  # type: ignore[assignment]
    hr_prompt: str = ""
    hr_negative_prompt: str = ""
    force_task_id: str = None  # type: ignore[assignment]

    cached_hr_uc = [None, None]
    cached_hr_c = [None, None]

    hr_checkpoint_info: Any = field(default=None, init=False)
    hr_upscale_to_x: int = field(default=0, init=False)
    hr_upscale_to_y: int = field(default=0, init=False)
    truncate_x: int = field(default=0, init=False)
    truncate_y: int = field(default=0, init=False)
    applied_old_hires_behavior_to: Any = field(default=None, init=False)
    latent_scale_mode: Any = field(default=None, init=False)
    hr_c: Any = field(default=None, init=False)
    hr_uc: Any = field(default=None, init=False)
    all_hr_prompts: Any = field(default=None, init=False)
    all_hr_negative_prompts: Any = field(default=None, init=False)
    hr_prompts: Any = field(default=None, init=False)
    hr_negative_prompts: Any = field(default=None, init=False)
    hr_extra_network_data: Any = field(default=None, init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.firstphase_width != 0 or self.firstphase_height != 0:
            self.hr_upscale_to_x, self.hr_upscale_to_y = self.width, self.height
            self.width, self.height = self.firstphase_width, self.firstphase_height
        self.cached_hr_uc = StableDiffusionProcessingTxt2Img.cached_hr_uc
        self.cached_hr_c = StableDiffusionProcessingTxt2Img.cached_hr_c

    def calculate_target_resolution(self) -> None:
        if opts.use_old_hires_fix_width_height and self.applied_old_hires_behavior_to != (self.width, self.height):
            self.hr_resize_x = self.hr_upscale_to_x = self.width
            self.hr_resize_y = self.hr_upscale_to_y = self.height
            self.width, self.height = old_hires_fix_first_pass_dimensions(self.width, self.height)
            self.applied_old_hires_behavior_to = (self.width, self.height)
        x, y = self.hr_resize_x, self.hr_resize_y
        if x == 0 and y == 0:
            self.extra_generation_params["Hires upscale"] = self.hr_scale
            self.hr_upscale_to_x, self.hr_upscale_to_y = (
                int(self.width * self.hr_scale),
                int(self.height * self.hr_scale),
            )
            return
        self.extra_generation_params["Hires resize"] = f"{x}x{y}"
        by_width = y == 0 or (x != 0 and self.width / self.height < x / y)
        if by_width:
            self.hr_upscale_to_x, self.hr_upscale_to_y = x, x * self.height // self.width
        else:
            self.hr_upscale_to_x, self.hr_upscale_to_y = y * self.width // self.height, y
        if x != 0 and y != 0:
            self.truncate_x = (self.hr_upscale_to_x - x) // opt_f
            self.truncate_y = (self.hr_upscale_to_y - y) // opt_f

    def _note_hr_settings(self) -> None:
        notes = self.extra_generation_params
        notes["Denoising strength"] = self.denoising_strength
        if self.hr_checkpoint_name and self.hr_checkpoint_name != "Use same checkpoint":
            self.hr_checkpoint_info = sd_models.get_closet_checkpoint_match(self.hr_checkpoint_name)
            if self.hr_checkpoint_info is None:
                raise Exception(f"Could not find checkpoint with name {self.hr_checkpoint_name}")
            notes["Hires checkpoint"] = self.hr_checkpoint_info.short_title
        if self.hr_sampler_name is not None and self.hr_sampler_name != self.sampler_name:
            notes["Hires sampler"] = self.hr_sampler_name
        notes["Hires prompt"] = _hr_prompt_note
        notes["Hires negative prompt"] = _hr_negative_prompt_note
        notes["Hires schedule type"] = None
        if self.hr_scheduler is None:
            self.hr_scheduler = self.scheduler

    def init(self, all_prompts: Any, all_seeds: Any, all_subseeds: Any) -> None:
        if not self.enable_hr:
            return
        self._note_hr_settings()
        mode = self.hr_upscaler if self.hr_upscaler is not None else shared.latent_upscale_default_mode
        self.latent_scale_mode = shared.latent_upscale_modes.get(mode)
        if self.latent_scale_mode is None and not any(x.name == self.hr_upscaler for x in shared.sd_upscalers):
            raise Exception(f"could not find upscaler named {self.hr_upscaler}")
        self.calculate_target_resolution()
        if not state.processing_has_refined_job_count:
            if state.job_count == -1:
                state.job_count = self.n_iter
            shared.total_tqdm.updateTotal((self.steps + (self.hr_second_pass_steps or self.steps)) * state.job_count)
            state.job_count = state.job_count * 2
            state.processing_has_refined_job_count = True
        if self.hr_second_pass_steps:
            self.extra_generation_params["Hires steps"] = self.hr_second_pass_steps
        if self.hr_upscaler is not None:
            self.extra_generation_params["Hires upscaler"] = self.hr_upscaler

    def _first_pass_from_image(self) -> tuple[Any, Any]:
        """(latents, None) or (None, pictures in -1..1) of a picture that stands for the first pass."""
        pixels = np.moveaxis(np.array(self.firstpass_image).astype(np.float32) / 255.0, 2, 0)[None]
        if self.latent_scale_mode is None:
            return None, torch.asarray(pixels * 2.0 - 1.0)
        image = torch.from_numpy(pixels).to(shared.device, dtype=devices.dtype_vae)
        return images_tensor_to_samples(image, None, self.sd_model), None

    def sample(
        self,
        conditioning: Any,
        unconditional_conditioning: Any,
        seeds: Any,
        subseeds: Any,
        subseed_strength: float,
        prompts: Any,
    ) -> Any:
        self.sampler = sd_samplers.create_sampler(self.sampler_name, self.sd_model)
        if self.firstpass_image is not None and self.enable_hr:
            samples, decoded_samples = self._first_pass_from_image()
        else:
            x = self.rng.next()
            if self.scripts is not None:
                self.scripts.process_before_every_sampling(
                    p=self, x=x, noise=x, c=conditioning, uc=unconditional_conditioning
                )
            image_conditioning = self.txt2img_image_conditioning(x)
            samples = self.sampler.sample(
                self, x, conditioning, unconditional_conditioning, image_conditioning=image_conditioning
            )
            del x
            if not self.enable_hr:
                return samples
            devices.torch_gc()
            decoded_samples = None
            if self.latent_scale_mode is None:
                decoded = decode_latent_batch(self.sd_model, samples, target_device=devices.cpu, check_for_nans=True)
                decoded_samples = torch.stack(decoded).to(dtype=torch.float32)
        with sd_models.SkipWritingToConfig():
            sd_models.reload_model_weights(info=self.hr_checkpoint_info)
        return self.sample_hr_pass(samples, decoded_samples, seeds, subseeds, subseed_strength, prompts)

    def _save_intermediate(self, image: Any, index: int, seeds: Any, prompts: Any) -> None:
        if not self.save_samples() or not opts.save_images_before_highres_fix:
            return
        if not isinstance(image, Image.Image):
            image = sd_samplers.sample_to_image(image, index, approximation=0)
        info = create_infotext(
            self,
            self.all_prompts,
            self.all_seeds,
            self.all_subseeds,
            [],
            iteration=self.iteration,
            position_in_batch=index,
        )
        suffix = "-before-highres-fix"
        images.save_image(
            image,
            self.outpath_samples,
            "",
            seeds[index],
            prompts[index],
            opts.samples_format,
            info=info,
            p=self,
            suffix=suffix,
        )

    def _upscaled_latents(self, samples: torch.Tensor, seeds: Any, prompts: Any) -> tuple[torch.Tensor, torch.Tensor]:
        for i in range(samples.shape[0]):
            self._save_intermediate(samples, i, seeds, prompts)
        size = (self.hr_upscale_to_y // opt_f, self.hr_upscale_to_x // opt_f)
        mode = self.latent_scale_mode
        samples = torch.nn.functional.interpolate(samples, size=size, mode=mode["mode"], antialias=mode["antialias"])
        if getattr(self, "inpainting_mask_weight", opts.inpainting_mask_weight) < 1.0:
            return samples, self.img2img_image_conditioning(decode_first_stage(self.sd_model, samples), samples)
        return samples, self.txt2img_image_conditioning(samples)

    def _upscaled_pictures(
        self, decoded_samples: torch.Tensor, seeds: Any, prompts: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        batch = []
        for i, x_sample in enumerate(torch.clamp((decoded_samples + 1.0) / 2.0, min=0.0, max=1.0)):
            image = _to_image(x_sample)
            self._save_intermediate(image, i, seeds, prompts)
            image = images.resize_image(
                0, image, self.hr_upscale_to_x, self.hr_upscale_to_y, upscaler_name=self.hr_upscaler
            )
            batch.append(np.moveaxis(np.array(image).astype(np.float32) / 255.0, 2, 0))
        pixels = torch.from_numpy(np.array(batch)).to(shared.device, dtype=devices.dtype_vae)
        samples = images_tensor_to_samples(pixels)
        return samples, self.img2img_image_conditioning(pixels, samples)

    def sample_hr_pass(
        self, samples: Any, decoded_samples: Any, seeds: Any, subseeds: Any, subseed_strength: float, prompts: Any
    ) -> Any:
        """Enlarges, renoises and samples again; returns decoded pictures. After an interrupt the first pass's latents
        are the result.
        """
        if state.interrupted:
            return samples
        self.is_hr_pass = True
        self.sampler = sd_samplers.create_sampler(self.hr_sampler_name or self.sampler_name, self.sd_model)
        if self.latent_scale_mode is not None:
            samples, image_conditioning = self._upscaled_latents(samples, seeds, prompts)
        else:
            samples, image_conditioning = self._upscaled_pictures(decoded_samples, seeds, prompts)
        state.nextjob()
        tx, ty = self.truncate_x, self.truncate_y
        samples = samples[:, :, ty // 2 : samples.shape[2] - (ty + 1) // 2, tx // 2 : samples.shape[3] - (tx + 1) // 2]
        self.rng = rng.ImageRNG(
            samples.shape[1:],
            self.seeds,
            subseeds=self.subseeds,
            subseed_strength=self.subseed_strength,
            seed_resize_from_h=self.seed_resize_from_h,
            seed_resize_from_w=self.seed_resize_from_w,
        )
        noise = self.rng.next()
        devices.torch_gc()
        if not self.disable_extra_networks:
            with devices.autocast():
                extra_networks.activate(self, self.hr_extra_network_data)
        with devices.autocast():
            self.calculate_hr_conds()
        sd_models.apply_token_merging(self.sd_model, self.get_token_merging_ratio(for_hr=True))
        if self.scripts is not None:
            self.scripts.before_hr(self)
            self.scripts.process_before_every_sampling(p=self, x=samples, noise=noise, c=self.hr_c, uc=self.hr_uc)
        steps = self.hr_second_pass_steps or self.steps
        samples = self.sampler.sample_img2img(
            self, samples, noise, self.hr_c, self.hr_uc, steps=steps, image_conditioning=image_conditioning
        )
        sd_models.apply_token_merging(self.sd_model, self.get_token_merging_ratio())
        self.sampler = None
        devices.torch_gc()
        decoded = decode_latent_batch(self.sd_model, samples, target_device=devices.cpu, check_for_nans=True)
        self.is_hr_pass = False
        return decoded

    def close(self) -> None:
        super().close()
        self.hr_c = None
        self.hr_uc = None
        if not opts.persistent_cond_cache:
            StableDiffusionProcessingTxt2Img.cached_hr_uc = [None, None]
            StableDiffusionProcessingTxt2Img.cached_hr_c = [None, None]

    def setup_prompts(self) -> None:
        super().setup_prompts()
        if not self.enable_hr:
            return
        self.hr_prompt = self.prompt if self.hr_prompt == "" else self.hr_prompt
        self.hr_negative_prompt = self.negative_prompt if self.hr_negative_prompt == "" else self.hr_negative_prompt
        count, styles = self.batch_size * self.n_iter, shared.prompt_styles
        prompts = self.hr_prompt if isinstance(self.hr_prompt, list) else count * [self.hr_prompt]
        negative = (
            self.hr_negative_prompt if isinstance(self.hr_negative_prompt, list) else count * [self.hr_negative_prompt]
        )
        self.all_hr_prompts = [styles.apply_styles_to_prompt(x, self.styles) for x in prompts]
        self.all_hr_negative_prompts = [styles.apply_negative_styles_to_prompt(x, self.styles) for x in negative]

    def calculate_hr_conds(self) -> None:
        if self.hr_c is not None:
            return
        size = {"width": self.hr_upscale_to_x, "height": self.hr_upscale_to_y}
        prompts = prompt_parser.SdConditioning(self.hr_prompts, **size)
        negative_prompts = prompt_parser.SdConditioning(self.hr_negative_prompts, is_negative_prompt=True, **size)
        config = sd_samplers.find_sampler_config(self.hr_sampler_name or self.sampler_name)
        steps = self.hr_second_pass_steps or self.steps
        total = config.total_steps(steps) if config else steps
        networks, first = self.hr_extra_network_data, self.firstpass_steps
        one, many = prompt_parser.get_learned_conditioning, prompt_parser.get_multicond_learned_conditioning
        self.hr_uc = self.get_conds_with_caching(
            one, negative_prompts, first, [self.cached_hr_uc, self.cached_uc], networks, total
        )
        self.hr_c = self.get_conds_with_caching(
            many, prompts, first, [self.cached_hr_c, self.cached_c], networks, total
        )

    def setup_conds(self) -> None:
        if self.is_hr_pass:  # the Refiner asks, after it changed the model
            self.hr_c = None
            self.calculate_hr_conds()
            return
        super().setup_conds()
        self.hr_uc = None
        self.hr_c = None
        if self.enable_hr and self.hr_checkpoint_info is None and opts.hires_fix_use_firstpass_conds:
            self.calculate_hr_conds()

    def get_conds(self) -> tuple[Any, Any]:
        return (self.hr_c, self.hr_uc) if self.is_hr_pass else super().get_conds()

    def parse_extra_network_prompts(self) -> None:
        super().parse_extra_network_prompts()
        if self.enable_hr:
            batch = slice(self.iteration * self.batch_size, (self.iteration + 1) * self.batch_size)
            self.hr_prompts = self.all_hr_prompts[batch]
            self.hr_negative_prompts = self.all_hr_negative_prompts[batch]
            self.hr_prompts, self.hr_extra_network_data = extra_networks.parse_prompts(self.hr_prompts)
