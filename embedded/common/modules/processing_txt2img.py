"""txt2img, with the hires pass, which runs inside `sample`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image

from modules import devices, extra_networks, images, model_handling, sd_models, sd_samplers, shared
from modules.processing_base import NOT_YET, StableDiffusionProcessing
from modules.processing_result import HiresFields
from modules.rng import ImageRNG, opt_f
from modules.sd_latent_codec import decode_latent_batch
from modules.sd_samplers_common import images_tensor_to_samples
from modules.shared import state

_SAME_CHECKPOINT = ("", "Use same checkpoint")


def pixels_of(picture: Image.Image) -> torch.Tensor:
    """float32 [3, H, W] in 0..1."""
    return torch.from_numpy(np.array(picture.convert("RGB"), dtype=np.float32) / 255.0).permute(2, 0, 1)


def picture_of(pixels: torch.Tensor) -> Image.Image:
    """Of float [3, H, W] in 0..1; numbers are cut, not rounded."""
    return Image.fromarray((pixels.cpu().numpy().transpose(1, 2, 0) * 255.0).astype(np.uint8))


def _own(of_pass: str, of_first: str) -> Any:
    """An entry of the infotext that is told where the hires pass has another text than the first."""

    def told(p: Any, index: int, **texts: Any) -> str | None:
        text = getattr(p, of_pass)[index]
        return None if text == texts[of_first] else text

    return told


@dataclass(repr=False)
class StableDiffusionProcessingTxt2Img(HiresFields, StableDiffusionProcessing):
    enable_hr: bool = False
    denoising_strength: float = 0.75
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

    hr_checkpoint_info = latent_scale_mode = hr_c = hr_uc = hr_extra_network_data = NOT_YET
    all_hr_prompts = all_hr_negative_prompts = hr_prompts = hr_negative_prompts = NOT_YET
    hr_upscale_to_x = hr_upscale_to_y = truncate_x = truncate_y = 0

    def calculate_target_resolution(self) -> None:
        """Of the enlarged picture. Of two sides that are asked for one fits, and the other is cut after enlarging."""
        to_x, to_y = self.hr_resize_x, self.hr_resize_y
        self.truncate_x = self.truncate_y = 0
        if not (to_x or to_y):
            self.hr_upscale_to_x = int(self.width * self.hr_scale)
            self.hr_upscale_to_y = int(self.height * self.hr_scale)
            self.note("Hires upscale", self.hr_scale)
            return
        self.note("Hires resize", f"{to_x}x{to_y}")
        wide = not to_y or (to_x and self.width * to_y < self.height * to_x)
        full = (to_x, to_x * self.height // self.width) if wide else (to_y * self.width // self.height, to_y)
        self.hr_upscale_to_x, self.hr_upscale_to_y = full
        if to_x and to_y:
            self.truncate_x, self.truncate_y = (full[0] - to_x) // opt_f, (full[1] - to_y) // opt_f

    def init(self, all_prompts: Any, all_seeds: Any, all_subseeds: Any) -> None:
        """Once a request: what the hires pass will do. Exception for a checkpoint or an upscaler that is not there."""
        if not self.enable_hr:
            return
        self.note("Denoising strength", self.denoising_strength)
        if self.hr_checkpoint_name and self.hr_checkpoint_name not in _SAME_CHECKPOINT:
            self.hr_checkpoint_info = sd_models.get_closet_checkpoint_match(self.hr_checkpoint_name)
            if self.hr_checkpoint_info is None:
                raise Exception(f"Could not find checkpoint with name {self.hr_checkpoint_name}")
            self.note("Hires checkpoint", self.hr_checkpoint_info.short_title)
        if hasattr(self, "hr_cfg"):
            self.note("Hires CFG Scale", self.hr_cfg)
        if self.hr_sampler_name not in (None, self.sampler_name):
            self.note("Hires sampler", self.hr_sampler_name)
        self.note("Hires prompt", _own("all_hr_prompts", "prompt_text"))
        self.note("Hires negative prompt", _own("all_hr_negative_prompts", "negative_prompt"))
        self.note("Hires schedule type", None)  # the sampler fills it in; its place in the infotext is here
        self.hr_scheduler = self.hr_scheduler or self.scheduler
        upscaler = self.hr_upscaler or shared.latent_upscale_default_mode
        self.latent_scale_mode = shared.latent_upscale_modes.get(upscaler)
        if self.latent_scale_mode is None and upscaler not in images.UPSCALERS:
            raise Exception(f"could not find upscaler named {upscaler}")
        self.calculate_target_resolution()
        if not state.processing_has_refined_job_count:  # progress counts each batch twice
            batches = self.n_iter if state.job_count == -1 else state.job_count
            state.job_count, state.processing_has_refined_job_count = batches * 2, True
        if self.hr_second_pass_steps:
            self.note("Hires steps", self.hr_second_pass_steps)
        if self.hr_upscaler is not None:
            self.note("Hires upscaler", self.hr_upscaler)

    def _hr_steps(self) -> int:
        return self.hr_second_pass_steps or self.steps

    def sample(self, conditioning: Any, unconditional_conditioning: Any, **of_batch: Any) -> Any:
        self.sampler = sd_samplers.create_sampler(self.sampler_name, self.sd_model)
        conds, noise = (conditioning, unconditional_conditioning), self.rng.next()
        model_handling.before_pass(self)
        self.before_sampling(noise, noise, *conds)
        picture = self.txt2img_image_conditioning(noise)
        latents = self.sampler.sample(self, noise, *conds, image_conditioning=picture)
        if not self.enable_hr:
            return latents
        decoded = None if self.latent_scale_mode else torch.stack(self._decoded(latents)).float()
        model_handling.load_for_hires(self)
        return self.sample_hr_pass(latents, decoded, *of_batch.values())

    def _decoded(self, latents: Any) -> Any:
        devices.torch_gc()
        return decode_latent_batch(self.sd_model, latents, target_device=devices.cpu, check_for_nans=True)

    def _enlarged(self, latents: Any, decoded: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        """(latents of the second pass's size, what an inpainting model sees beside them)."""
        size = (self.hr_upscale_to_x, self.hr_upscale_to_y)
        if decoded is None:
            small = (size[1] // opt_f, size[0] // opt_f)
            larger = torch.nn.functional.interpolate(latents, size=small, **self.latent_scale_mode)
            return larger, self.txt2img_image_conditioning(larger)
        pictures = (picture_of(pixels) for pixels in (decoded / 2 + 0.5).clamp(0, 1))
        enlarged = [images.resize_image(0, picture, *size, upscaler_name=self.hr_upscaler) for picture in pictures]
        pixels = torch.stack([pixels_of(picture) for picture in enlarged]).to(shared.device, devices.dtype_vae)
        larger = images_tensor_to_samples(pixels)
        return larger, self.img2img_image_conditioning(pixels * 2 - 1, larger)

    def sample_hr_pass(self, samples: Any, decoded_samples: Any, *of_batch: Any) -> Any:
        """Enlarges, renoises and samples again; decoded pictures, or after an interrupt the first pass's latents."""
        if state.interrupted:
            return samples
        self.is_hr_pass = True
        self.sampler = sd_samplers.create_sampler(self.hr_sampler_name or self.sampler_name, self.sd_model)
        latents, picture = self._enlarged(samples, decoded_samples)
        state.nextjob()
        for dimension, surplus in ((3, self.truncate_x), (2, self.truncate_y)):
            latents = latents.narrow(dimension, surplus // 2, latents.shape[dimension] - surplus)
        self.rng = ImageRNG(latents.shape[1:], self.seeds)
        noise = self.rng.next()
        model_handling.activate_networks(self, self.hr_extra_network_data)
        with devices.autocast():
            self.calculate_hr_conds()
        self.tell_scripts("before_hr")
        conds = (self.hr_c, self.hr_uc)
        if model_handling.HOOKS_BEFORE_HIRES_RESET:
            self.before_sampling(latents, noise, *conds)
        model_handling.before_pass(self)
        self.before_sampling(latents, noise, *conds)
        how = {"steps": self._hr_steps(), "image_conditioning": picture}
        latents = self.sampler.sample_img2img(self, latents, noise, *conds, **how)
        pictures = self._decoded(latents)
        self.sampler, self.is_hr_pass = None, False
        return pictures

    def close(self) -> None:
        super().close()
        self.hr_c = self.hr_uc = None

    def setup_prompts(self) -> None:
        super().setup_prompts()
        if not self.enable_hr:
            return
        for name in ("prompt", "negative_prompt"):
            text = getattr(self, f"hr_{name}") or getattr(self, name)
            setattr(self, f"hr_{name}", text)
            setattr(self, f"all_hr_{name}s", [text] * len(self.all_prompts))

    def calculate_hr_conds(self) -> None:
        if self.hr_c is not None:
            return
        config = sd_samplers.find_sampler_config(self.hr_sampler_name or self.sampler_name)
        steps = config.total_steps(self._hr_steps()) if config else self._hr_steps()
        how = {"steps": self.firstpass_steps, "hires_steps": steps, "extra_network_data": self.hr_extra_network_data}
        caches = ([self.cached_hr_c, self.cached_c], [self.cached_hr_uc, self.cached_uc])
        cfg = getattr(self, "hr_cfg", self.cfg_scale)
        self.hr_c, self.hr_uc = self._read(self.hr_prompts, self.hr_negative_prompts, cfg, caches, how)

    def setup_conds(self) -> None:
        """In the hires pass the Refiner asks, after it changed the model."""
        if not self.is_hr_pass:
            super().setup_conds()
        self.hr_c = self.hr_uc = None
        if self.is_hr_pass:
            self.calculate_hr_conds()
        elif self.enable_hr and self.hr_checkpoint_info is None:
            model_handling.condition_hires_early(self)

    def get_conds(self) -> tuple[Any, Any]:
        return (self.hr_c, self.hr_uc) if self.is_hr_pass else super().get_conds()

    def parse_extra_network_prompts(self) -> None:
        super().parse_extra_network_prompts()
        if self.enable_hr:
            self.take_batch("hr_prompts", "hr_negative_prompts")
            self.hr_prompts, self.hr_extra_network_data = extra_networks.parse_prompts(self.hr_prompts)
