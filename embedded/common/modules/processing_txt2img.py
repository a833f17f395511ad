"""txt2img, with the hires pass, which runs inside `sample`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from PIL import Image

from modules import (
    devices,
    extra_networks,
    images,
    model_handling,
    prompt_parser,
    rng,
    sd_models,
    sd_samplers,
    shared,
)
from modules.hires_size import HiresSize, enlarged, old_hires_fix_first_pass_dimensions, resized
from modules.processed import create_infotext
from modules.processing_base import StableDiffusionProcessing
from modules.processing_fields import HiresFields
from modules.sd_decoding import decode_latent_batch
from modules.sd_latents import opt_f
from modules.sd_samplers_common import decode_first_stage, images_tensor_to_samples
from modules.shared import opts, state


def _hr_prompt_note(p: Any, index: int, prompt_text: str, **kwargs: Any) -> str | None:
    own = p.all_hr_prompts[index]
    return None if own == prompt_text else own


def _hr_negative_prompt_note(p: Any, index: int, negative_prompt: str, **kwargs: Any) -> str | None:
    own = p.all_hr_negative_prompts[index]
    return None if own == negative_prompt else own


def _to_image(x_sample: torch.Tensor) -> Image.Image:
    return Image.fromarray((255.0 * np.moveaxis(x_sample.cpu().numpy(), 0, 2)).astype(np.uint8))


def _to_pixels(picture: Any) -> np.ndarray:
    """float32 [3, H, W] in 0..1."""
    return np.moveaxis(np.array(picture).astype(np.float32) / 255.0, 2, 0)


def _trimmed(latents: torch.Tensor, surplus_x: int, surplus_y: int) -> torch.Tensor:
    """[B, C, h, w] without so many columns and rows, taken from both sides."""
    left, top = surplus_x // 2, surplus_y // 2
    h, w = latents.shape[2] - surplus_y, latents.shape[3] - surplus_x
    return latents[:, :, top : top + h, left : left + w]


def _empty_cache() -> list[Any]:
    return [None, None]


@dataclass(repr=False)
class StableDiffusionProcessingTxt2Img(HiresFields, StableDiffusionProcessing):
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

    cached_hr_uc = _empty_cache()
    cached_hr_c = _empty_cache()

    hr_checkpoint_info: Any = field(default=None, init=False)
    hr_upscale_to_x: int = field(init=False, default=0)
    hr_upscale_to_y: int = field(init=False, default=0)
    truncate_x: int = field(init=False, default=0)
    truncate_y: int = field(init=False, default=0)
    applied_old_hires_behavior_to: Any = field(init=False, default=None)
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
        if self.firstphase_width or self.firstphase_height:  # then the size that is asked for is the second pass's
            self.hr_upscale_to_x, self.hr_upscale_to_y = self.width, self.height
            self.width, self.height = self.firstphase_width, self.firstphase_height
        shared_by_requests = StableDiffusionProcessingTxt2Img
        self.cached_hr_c, self.cached_hr_uc = shared_by_requests.cached_hr_c, shared_by_requests.cached_hr_uc

    def _take_size_as_final(self) -> None:
        """The old behaviour: width and height are the second pass's. Once, since both are exchanged for the first's."""
        final = (self.width, self.height)
        if opts.use_old_hires_fix_width_height and self.applied_old_hires_behavior_to != final:
            self.hr_resize_x, self.hr_resize_y = final
            self.width, self.height = old_hires_fix_first_pass_dimensions(*final)
            self.applied_old_hires_behavior_to = (self.width, self.height)

    def _wanted_size(self) -> HiresSize:
        if self.hr_resize_x or self.hr_resize_y:
            return resized(self.width, self.height, self.hr_resize_x, self.hr_resize_y)
        return enlarged(self.width, self.height, self.hr_scale)

    def calculate_target_resolution(self) -> None:
        self._take_size_as_final()
        size = self._wanted_size()
        self.hr_upscale_to_x, self.hr_upscale_to_y = size.width, size.height
        self.truncate_x, self.truncate_y = size.surplus_x // opt_f, size.surplus_y // opt_f
        self._note(*size.note)

    def _note(self, name: str, value: Any) -> None:
        self.extra_generation_params[name] = value

    def _settle_hr_checkpoint(self) -> None:
        wanted = self.hr_checkpoint_name
        if not wanted or wanted == "Use same checkpoint":
            return
        self.hr_checkpoint_info = found = sd_models.get_closet_checkpoint_match(wanted)
        if found is None:
            raise Exception(f"Could not find checkpoint with name {wanted}")
        self._note("Hires checkpoint", found.short_title)

    def _note_hr_settings(self) -> None:
        self._note("Denoising strength", self.denoising_strength)
        self._settle_hr_checkpoint()
        model_handling.note_hires(self)
        if self.hr_sampler_name not in (None, self.sampler_name):
            self._note("Hires sampler", self.hr_sampler_name)
        self._note("Hires prompt", _hr_prompt_note)
        self._note("Hires negative prompt", _hr_negative_prompt_note)
        self._note("Hires schedule type", None)  # the sampler fills it in; its place in the infotext is here
        if self.hr_scheduler is None:
            self.hr_scheduler = self.scheduler

    def _settle_upscaler(self) -> None:
        name = self.hr_upscaler
        self.latent_scale_mode = shared.latent_upscale_modes.get(
            shared.latent_upscale_default_mode if name is None else name
        )
        if self.latent_scale_mode is None and name not in [upscaler.name for upscaler in shared.sd_upscalers]:
            raise Exception(f"could not find upscaler named {name}")

    def _count_second_pass(self) -> None:
        """Progress counts each batch twice; done once a request, whoever calls `init` again."""
        if state.processing_has_refined_job_count:
            return
        batches = self.n_iter if state.job_count == -1 else state.job_count
        shared.total_tqdm.updateTotal(batches * (self.steps + self._hr_steps()))
        state.job_count, state.processing_has_refined_job_count = batches * 2, True

    def _hr_steps(self) -> int:
        return self.hr_second_pass_steps or self.steps

    def init(self, all_prompts: Any, all_seeds: Any, all_subseeds: Any) -> None:
        if not self.enable_hr:
            return
        self._note_hr_settings()
        self._settle_upscaler()
        self.calculate_target_resolution()
        self._count_second_pass()
        if self.hr_second_pass_steps:
            self._note("Hires steps", self.hr_second_pass_steps)
        if self.hr_upscaler is not None:
            self._note("Hires upscaler", self.hr_upscaler)

    def _first_pass_from_image(self) -> tuple[Any, Any]:
        """(latents, None) or (None, pictures in -1..1) of a picture that stands for the first pass."""
        pixels = _to_pixels(self.firstpass_image)[None]
        if self.latent_scale_mode is None:
            return None, torch.asarray(pixels * 2.0 - 1.0)
        image = torch.from_numpy(pixels).to(shared.device, dtype=devices.dtype_vae)
        return images_tensor_to_samples(image, None, self.sd_model), None

    def _before_sampling(self, x: Any, noise: Any, c: Any, uc: Any) -> None:
        if self.scripts is not None:
            self.scripts.process_before_every_sampling(p=self, x=x, noise=noise, c=c, uc=uc)

    def _first_pass(self, c: Any, uc: Any) -> Any:
        noise = self.rng.next()
        model_handling.before_pass(self)
        self._before_sampling(noise, noise, c, uc)
        noise = model_handling.pass_noise(self, noise)
        return self.sampler.sample(self, noise, c, uc, image_conditioning=self.txt2img_image_conditioning(noise))

    def _pictures_to_enlarge(self, latents: Any) -> torch.Tensor | None:
        """What an upscaler of pictures starts from, [B, 3, H, W] in -1..1; latents are enlarged as they are."""
        devices.torch_gc()
        if self.latent_scale_mode is not None:
            return None
        decoded = decode_latent_batch(self.sd_model, latents, target_device=devices.cpu, check_for_nans=True)
        return torch.stack(decoded).float()

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
        if self.enable_hr and self.firstpass_image is not None:
            latents, pictures = self._first_pass_from_image()
        else:
            latents = self._first_pass(conditioning, unconditional_conditioning)
            if not self.enable_hr:
                return latents
            pictures = self._pictures_to_enlarge(latents)
        model_handling.load_for_hires(self)
        return self.sample_hr_pass(latents, pictures, seeds, subseeds, subseed_strength, prompts)

    def _save_intermediate(self, image: Any, index: int, seeds: Any, prompts: Any) -> None:
        if not (opts.save_images_before_highres_fix and self.save_samples()):
            return
        picture = image if isinstance(image, Image.Image) else sd_samplers.sample_to_image(image, index, 0)
        lists = (self.all_prompts, self.all_seeds, self.all_subseeds)
        info = create_infotext(self, *lists, [], iteration=self.iteration, position_in_batch=index)
        place = (self.outpath_samples, "", seeds[index], prompts[index], opts.samples_format)
        images.save_image(picture, *place, info=info, p=self, suffix="-before-highres-fix")

    def _upscaled_latents(self, samples: torch.Tensor, seeds: Any, prompts: Any) -> tuple[torch.Tensor, torch.Tensor]:
        for i in range(samples.shape[0]):
            self._save_intermediate(samples, i, seeds, prompts)
        size = (self.hr_upscale_to_y // opt_f, self.hr_upscale_to_x // opt_f)
        mode = self.latent_scale_mode
        larger = torch.nn.functional.interpolate(samples, size=size, mode=mode["mode"], antialias=mode["antialias"])
        if getattr(self, "inpainting_mask_weight", opts.inpainting_mask_weight) < 1.0:
            return larger, self.img2img_image_conditioning(decode_first_stage(self.sd_model, larger), larger)
        return larger, self.txt2img_image_conditioning(larger)

    def _upscaled_pictures(self, pictures: torch.Tensor, seeds: Any, prompts: Any) -> tuple[torch.Tensor, torch.Tensor]:
        size = (self.hr_upscale_to_x, self.hr_upscale_to_y)
        larger = []
        for i, pixels in enumerate(torch.clamp((pictures + 1.0) / 2.0, min=0.0, max=1.0)):
            picture = _to_image(pixels)
            self._save_intermediate(picture, i, seeds, prompts)
            larger.append(_to_pixels(images.resize_image(0, picture, *size, upscaler_name=self.hr_upscaler)))
        batch = torch.from_numpy(np.array(larger)).to(shared.device, dtype=devices.dtype_vae)
        latents = images_tensor_to_samples(batch)
        return latents, self.img2img_image_conditioning(batch, latents)

    def _condition_second_pass(self) -> None:
        model_handling.activate_networks(self, self.hr_extra_network_data)
        with devices.autocast():
            self.calculate_hr_conds()

    def _second_sampling(self, latents: torch.Tensor, noise: torch.Tensor, image_conditioning: Any) -> torch.Tensor:
        if self.scripts is not None:
            self.scripts.before_hr(self)
        if model_handling.HOOKS_BEFORE_HIRES_RESET:
            self._before_sampling(latents, noise, self.hr_c, self.hr_uc)
        model_handling.before_pass(self, for_hr=True)
        self._before_sampling(latents, noise, self.hr_c, self.hr_uc)
        noise = model_handling.pass_noise(self, noise)
        conds = (self.hr_c, self.hr_uc)
        result = self.sampler.sample_img2img(
            self, latents, noise, *conds, steps=self._hr_steps(), image_conditioning=image_conditioning
        )
        model_handling.after_hires_pass(self)
        return result

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
        if self.latent_scale_mode is None:
            latents, image_conditioning = self._upscaled_pictures(decoded_samples, seeds, prompts)
        else:
            latents, image_conditioning = self._upscaled_latents(samples, seeds, prompts)
        state.nextjob()
        latents = _trimmed(latents, self.truncate_x, self.truncate_y)
        self.rng = rng.of_request(self, latents.shape[1:])
        noise = self.rng.next()
        devices.torch_gc()
        self._condition_second_pass()
        latents = self._second_sampling(latents, noise, image_conditioning)
        self.sampler = None
        devices.torch_gc()
        pictures = decode_latent_batch(self.sd_model, latents, target_device=devices.cpu, check_for_nans=True)
        self.is_hr_pass = False
        return pictures

    def close(self) -> None:
        super().close()
        self.hr_c = None
        self.hr_uc = None
        if not opts.persistent_cond_cache:
            for cache in ("cached_hr_c", "cached_hr_uc"):
                setattr(StableDiffusionProcessingTxt2Img, cache, _empty_cache())

    def setup_prompts(self) -> None:
        super().setup_prompts()
        if not self.enable_hr:
            return
        if self.hr_prompt == "":
            self.hr_prompt = self.prompt
        if self.hr_negative_prompt == "":
            self.hr_negative_prompt = self.negative_prompt
        count, styles = self.batch_size * self.n_iter, shared.prompt_styles
        given = (self.hr_prompt, self.hr_negative_prompt)
        prompts, negatives = (x if isinstance(x, list) else [x] * count for x in given)
        self.all_hr_prompts = [styles.apply_styles_to_prompt(x, self.styles) for x in prompts]
        self.all_hr_negative_prompts = [styles.apply_negative_styles_to_prompt(x, self.styles) for x in negatives]

    def calculate_hr_conds(self) -> None:
        if self.hr_c is not None:
            return
        size = {"width": self.hr_upscale_to_x, "height": self.hr_upscale_to_y}
        prompts = prompt_parser.SdConditioning(self.hr_prompts, **size)
        negative_prompts = prompt_parser.SdConditioning(self.hr_negative_prompts, is_negative_prompt=True, **size)
        config = sd_samplers.find_sampler_config(self.hr_sampler_name or self.sampler_name)
        steps = self._hr_steps()
        total = config.total_steps(steps) if config else steps
        networks, first = self.hr_extra_network_data, self.firstpass_steps
        one, many = prompt_parser.get_learned_conditioning, prompt_parser.get_multicond_learned_conditioning
        self.hr_uc = None
        if not model_handling.leaves_uncond_out(getattr(self, "hr_cfg", self.cfg_scale)):
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
        self.hr_c = self.hr_uc = None
        same_model = self.hr_checkpoint_info is None
        if self.enable_hr and same_model:
            model_handling.condition_hires_early(self)

    def get_conds(self) -> tuple[Any, Any]:
        return (self.hr_c, self.hr_uc) if self.is_hr_pass else super().get_conds()

    def parse_extra_network_prompts(self) -> None:
        super().parse_extra_network_prompts()
        if self.enable_hr:
            first = self.iteration * self.batch_size
            batch = slice(first, first + self.batch_size)
            self.hr_negative_prompts = self.all_hr_negative_prompts[batch]
            parsed = extra_networks.parse_prompts(self.all_hr_prompts[batch])
            self.hr_prompts, self.hr_extra_network_data = parsed
