"""A request as the host carries it through a generation: what both txt2img and img2img have."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from modules import devices, extra_networks, model_handling, prompt_parser, sd_samplers, shared
from modules.processing_fields import RequestFields
from modules.processing_state import RequestState
from modules.sd_samplers_common import images_tensor_to_samples
from modules.shared import opts, state


def txt2img_image_conditioning(sd_model: Any, x: torch.Tensor, width: int, height: int) -> torch.Tensor:
    """For inpainting models a grey picture that is masked everywhere; for others a dummy that only tells the batch's
    size.
    """
    if model_handling.takes_a_picture(sd_model):
        grey = torch.ones(x.shape[0], 3, height, width, device=x.device) * 0.5
        latent = images_tensor_to_samples(grey, None, sd_model)
        return torch.nn.functional.pad(latent, (0, 0, 0, 0, 1, 0), value=1.0).to(x.dtype)
    return _no_picture(x)


def _no_picture(latents: torch.Tensor) -> torch.Tensor:
    """The dummy [B, 5, 1, 1] that stands for the picture where the model takes none."""
    return latents.new_zeros((len(latents), 5, 1, 1))


def _mask_pixels(mask: Any, like: torch.Tensor, binary: bool) -> torch.Tensor:
    """[1, 1, H, W] in 0..1, 1 where it is painted: everywhere without a mask."""
    if mask is None:
        return like.new_ones(1, 1, *like.shape[-2:])
    if not torch.is_tensor(mask):
        brightness = torch.from_numpy(np.array(mask.convert("L")).astype(np.float32) / 255.0)[None, None]
        mask = torch.round(brightness) if binary else brightness
    return mask.to(device=like.device, dtype=like.dtype)


@dataclass(repr=False)
class StableDiffusionProcessing(RequestFields, RequestState):
    sd_model: Any = None
    outpath_samples: str = None  # type: ignore[assignment]
    outpath_grids: str = None  # type: ignore[assignment]
    prompt: str = ""
    prompt_for_display: str = None  # type: ignore[assignment]
    negative_prompt: str = ""
    styles: list[str] = None  # type: ignore[assignment]
    seed: int = -1
    subseed: int = -1
    subseed_strength: float = 0
    seed_resize_from_h: int = -1
    seed_resize_from_w: int = -1
    seed_enable_extras: bool = True
    sampler_name: str = None  # type: ignore[assignment]
    scheduler: str = None  # type: ignore[assignment]
    batch_size: int = 1
    n_iter: int = 1
    steps: int = 50
    cfg_scale: float = 7.0
    width: int = 512
    height: int = 512
    restore_faces: bool = None  # type: ignore[assignment]
    tiling: bool = None  # type: ignore[assignment]
    do_not_save_samples: bool = False
    do_not_save_grid: bool = False
    extra_generation_params: dict[str, Any] = None  # type: ignore[assignment]
    overlay_images: list = None  # type: ignore[assignment,type-arg]
    eta: float = None  # type: ignore[assignment]
    do_not_reload_embeddings: bool = False
    denoising_strength: float = None  # type: ignore[assignment]
    ddim_discretize: str = None  # type: ignore[assignment]
    s_min_uncond: float = None  # type: ignore[assignment]
    s_churn: float = None  # type: ignore[assignment]
    s_tmax: float = None  # type: ignore[assignment]
    s_tmin: float = None  # type: ignore[assignment]
    s_noise: float = None  # type: ignore[assignment]
    override_settings: dict[str, Any] = None  # type: ignore[assignment]
    override_settings_restore_afterwards: bool = True
    sampler_index: int = None  # type: ignore[assignment]
    refiner_checkpoint: str = None  # type: ignore[assignment]
    refiner_switch_at: float = None  # type: ignore[assignment]
    token_merging_ratio = 0
    token_merging_ratio_hr = 0
    disable_extra_networks: bool = False
    firstpass_image: Any = None

    cached_uc = [None, None]
    cached_c = [None, None]

    comments: dict[str, int] = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        if self.sampler_index is not None:
            print(
                "sampler_index argument for StableDiffusionProcessing does not do anything; use sampler_name",
                file=sys.stderr,
            )
        self.comments = {}
        self.styles = [] if self.styles is None else self.styles
        self.sampler_noise_scheduler_override: Any = None
        for name in ("extra_generation_params", "override_settings", "script_args"):
            if not getattr(self, name):
                setattr(self, name, {})
        self.refiner_checkpoint_info: Any = None
        self.firstpass_steps = 0
        if not self.seed_enable_extras:
            self.subseed, self.subseed_strength, self.seed_resize_from_h, self.seed_resize_from_w = -1, 0, 0, 0
        everyones = StableDiffusionProcessing
        self.cached_c, self.cached_uc = everyones.cached_c, everyones.cached_uc

    def fill_fields_from_opts(self) -> None:
        for name in ("s_min_uncond", "s_churn", "s_tmin", "s_tmax", "s_noise"):
            if getattr(self, name) is None:
                setattr(self, name, getattr(opts, name))
        self.s_tmax = self.s_tmax or float("inf")

    @property
    def scripts(self) -> Any:
        return self.scripts_value

    @scripts.setter
    def scripts(self, value: Any) -> None:
        self.scripts_value = value
        self._setup_scripts_once()

    @property
    def script_args(self) -> Any:
        return self.script_args_value

    @script_args.setter
    def script_args(self, value: Any) -> None:
        self.script_args_value = value
        self._setup_scripts_once()

    def _setup_scripts_once(self) -> None:
        if self.scripts_setup_complete:
            return
        if self.scripts_value and self.script_args_value:
            self.setup_scripts()

    def setup_scripts(self) -> None:
        self.scripts_setup_complete = True
        runner = self.scripts
        runner.setup_scrips(self, is_ui=not self.is_api)

    def comment(self, text: str) -> None:
        """Shown under the picture; not returned by the API."""
        self.comments[text] = 1

    def txt2img_image_conditioning(
        self, x: torch.Tensor, width: int | None = None, height: int | None = None
    ) -> torch.Tensor:
        model = self.sd_model
        self.is_using_inpainting_conditioning = model_handling.takes_a_picture(model)
        size = (width or self.width, height or self.height)
        return txt2img_image_conditioning(model, x, *size)

    def inpainting_image_conditioning(
        self,
        source_image: torch.Tensor,
        latent_image: torch.Tensor,
        image_mask: Any = None,
        round_image_mask: bool = True,
    ) -> torch.Tensor:
        """Mask and latent of the picture without its masked part, [B, 1 + C, h, w], for inpainting models."""
        self.is_using_inpainting_conditioning = True
        mask = _mask_pixels(image_mask, source_image, binary=round_image_mask)
        weight = getattr(self, "inpainting_mask_weight", shared.opts.inpainting_mask_weight)
        visible = torch.lerp(source_image, source_image * (1.0 - mask), weight)
        latent = self.sd_model.get_first_stage_encoding(self.sd_model.encode_first_stage(visible))
        mask = torch.nn.functional.interpolate(mask, size=latent_image.shape[-2:]).expand(latent.shape[0], -1, -1, -1)
        return torch.cat([mask, latent], dim=1).to(shared.device)

    def img2img_image_conditioning(
        self,
        source_image: torch.Tensor,
        latent_image: torch.Tensor,
        image_mask: Any = None,
        round_image_mask: bool = True,
    ) -> torch.Tensor:
        if not model_handling.takes_a_picture(self.sd_model):
            return _no_picture(latent_image)
        return self.inpainting_image_conditioning(source_image, latent_image, image_mask, round_image_mask)

    def init(self, all_prompts: Any, all_seeds: Any, all_subseeds: Any) -> None:
        return None

    def sample(
        self,
        conditioning: Any,
        unconditional_conditioning: Any,
        seeds: Any,
        subseeds: Any,
        subseed_strength: float,
        prompts: Any,
    ) -> Any:
        raise NotImplementedError

    def close(self) -> None:
        self.sampler = None
        self.c = None
        self.uc = None
        if not opts.persistent_cond_cache:
            for cache in ("cached_c", "cached_uc"):
                setattr(StableDiffusionProcessing, cache, [None, None])

    def get_token_merging_ratio(self, for_hr: bool = False) -> float:
        first_pass = (self.token_merging_ratio, opts.token_merging_ratio)
        hires = (self.token_merging_ratio_hr, opts.token_merging_ratio_hr)
        candidates = [*hires, *first_pass] if for_hr else first_pass
        return next((ratio for ratio in candidates if ratio), first_pass[-1])

    def _as_lists(self) -> tuple[list[str], list[str]]:
        """Prompts and negative prompts, one a picture; where one of them is a list, it tells how many."""
        prompt, negative = self.prompt, self.negative_prompt
        lengths = [len(given) for given in (prompt, negative) if isinstance(given, list)]
        count = lengths[0] if lengths else self.batch_size * self.n_iter
        prompts, negatives = (x if isinstance(x, list) else [x] * count for x in (prompt, negative))
        if len(prompts) != len(negatives):
            raise RuntimeError(f"There are {len(prompts)} prompts but {len(negatives)} negative prompts; give as many")
        return prompts, negatives

    def setup_prompts(self) -> None:
        prompts, negatives = self._as_lists()
        styles = shared.prompt_styles
        self.all_prompts = [styles.apply_styles_to_prompt(x, self.styles) for x in prompts]
        self.all_negative_prompts = [styles.apply_negative_styles_to_prompt(x, self.styles) for x in negatives]
        self.main_prompt, self.main_negative_prompt = self.all_prompts[0], self.all_negative_prompts[0]

    def cached_params(
        self,
        required_prompts: Any,
        steps: int,
        extra_network_data: Any,
        hires_steps: int | None = None,
        use_old_scheduling: bool = False,
    ) -> tuple[Any, ...]:
        """All that conditioning depends on. The model counts by its checkpoint alone: weights exchanged under it go
        unnoticed.
        """
        return (
            required_prompts,
            steps,
            hires_steps,
            use_old_scheduling,
            opts.CLIP_stop_at_last_layers,
            shared.sd_model.sd_checkpoint_info,
            extra_network_data,
            opts.sdxl_crop_left,
            opts.sdxl_crop_top,
            self.width,
            self.height,
            opts.fp8_storage,
            opts.cache_fp16_weight,
            opts.emphasis,
        )

    def get_conds_with_caching(
        self,
        function: Any,
        required_prompts: Any,
        steps: int,
        caches: list[Any],
        extra_network_data: Any,
        hires_steps: int | None = None,
    ) -> Any:
        """`function(model, prompts, ...)`, or what one of the caches ([arguments, result]) holds for equal
        arguments.
        """
        old_timelines = opts.use_old_scheduling
        if old_timelines:
            self._note_old_timelines(required_prompts, steps, hires_steps)
        wanted = self.cached_params(required_prompts, steps, extra_network_data, hires_steps, old_timelines)
        for cache in caches:
            if cache[0] is not None and wanted == cache[0]:
                model_handling.recall_notes(cache)
                return cache[1]

        def encode() -> Any:
            return function(shared.sd_model, required_prompts, steps, hires_steps, old_timelines)

        with devices.autocast():
            result = model_handling.conditioned(encode, caches[0])
        caches[0][:2] = wanted, result
        return result

    def _note_old_timelines(self, prompts: Any, steps: int, hires_steps: int | None) -> None:
        """Only where they make a difference."""
        parse = prompt_parser.get_learned_conditioning_prompt_schedules
        new, old = (parse(prompts, steps, hires_steps, is_old) for is_old in (False, True))
        if new != old:
            self.extra_generation_params["Old prompt editing timelines"] = True

    def setup_conds(self) -> None:
        size = {"width": self.width, "height": self.height}
        wanted = prompt_parser.SdConditioning(self.prompts, **size)
        unwanted = prompt_parser.SdConditioning(self.negative_prompts, is_negative_prompt=True, **size)
        sampler = sd_samplers.find_sampler_config(self.sampler_name)
        calls = sampler.total_steps(self.steps) if sampler else self.steps
        self.firstpass_steps, self.step_multiplier = calls, calls // self.steps
        one, many = prompt_parser.get_learned_conditioning, prompt_parser.get_multicond_learned_conditioning
        networks = self.extra_network_data
        self.uc = None
        if not model_handling.leaves_uncond_out(self.cfg_scale):
            self.uc = self.get_conds_with_caching(one, unwanted, calls, [self.cached_uc], networks)
        self.c = self.get_conds_with_caching(many, wanted, calls, [self.cached_c], networks)

    def get_conds(self) -> tuple[Any, Any]:
        return self.c, self.uc

    def parse_extra_network_prompts(self) -> None:
        parsed = extra_networks.parse_prompts(self.prompts)
        self.prompts, self.extra_network_data = parsed

    def save_samples(self) -> bool:
        finished = not state.interrupted and not state.skipped
        return bool(opts.samples_save and not self.do_not_save_samples and (opts.save_incomplete_images or finished))


def _current_model(self: StableDiffusionProcessing) -> Any:
    return shared.sd_model


# After the dataclass has taken the field: `sd_model` stays an argument, but reads as whatever model is loaded now.
StableDiffusionProcessing.sd_model = property(_current_model, lambda self, value: None)  # type: ignore[assignment]
