"""A request as the host carries it through a generation: what both txt2img and img2img have."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from modules import devices, extra_networks, prompt_parser, sd_samplers, shared
from modules.sd_samplers_common import images_tensor_to_samples
from modules.shared import opts, state


def txt2img_image_conditioning(sd_model: Any, x: torch.Tensor, width: int, height: int) -> torch.Tensor:
    """For inpainting models a grey picture that is masked everywhere; for others a dummy that only tells the batch's
    size.
    """
    if sd_model.model.conditioning_key in {"hybrid", "concat"}:
        grey = torch.ones(x.shape[0], 3, height, width, device=x.device) * 0.5
        latent = images_tensor_to_samples(grey, None, sd_model)
        return torch.nn.functional.pad(latent, (0, 0, 0, 0, 1, 0), value=1.0).to(x.dtype)
    return x.new_zeros(x.shape[0], 5, 1, 1, dtype=x.dtype, device=x.device)


@dataclass(repr=False)
class StableDiffusionProcessing:
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

    scripts_value: Any = field(default=None, init=False)
    script_args_value: Any = field(default=None, init=False)
    scripts_setup_complete: bool = field(default=False, init=False)

    cached_uc = [None, None]
    cached_c = [None, None]

    comments: dict[str, int] = None  # type: ignore[assignment]
    sampler: Any = field(default=None, init=False)
    is_using_inpainting_conditioning: bool = field(default=False, init=False)
    paste_to: Any = field(default=None, init=False)
    is_hr_pass: bool = field(default=False, init=False)
    c: Any = field(default=None, init=False)
    uc: Any = field(default=None, init=False)
    rng: Any = field(default=None, init=False)
    step_multiplier: int = field(default=1, init=False)
    color_corrections: Any = field(default=None, init=False)
    all_prompts: Any = field(default=None, init=False)
    all_negative_prompts: Any = field(default=None, init=False)
    all_seeds: Any = field(default=None, init=False)
    all_subseeds: Any = field(default=None, init=False)
    iteration: int = field(default=0, init=False)
    main_prompt: Any = field(default=None, init=False)
    main_negative_prompt: Any = field(default=None, init=False)
    prompts: Any = field(default=None, init=False)
    negative_prompts: Any = field(default=None, init=False)
    seeds: Any = field(default=None, init=False)
    subseeds: Any = field(default=None, init=False)
    extra_network_data: Any = field(default=None, init=False)
    user: Any = field(default=None, init=False)
    sd_model_name: Any = field(default=None, init=False)
    sd_model_hash: Any = field(default=None, init=False)
    sd_vae_name: Any = field(default=None, init=False)
    sd_vae_hash: Any = field(default=None, init=False)
    is_api: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        if self.sampler_index is not None:
            print(
                "sampler_index argument for StableDiffusionProcessing does not do anything; use sampler_name",
                file=sys.stderr,
            )
        self.comments = {}
        self.styles = self.styles if self.styles is not None else []
        self.sampler_noise_scheduler_override: Any = None
        self.extra_generation_params = self.extra_generation_params or {}
        self.override_settings = self.override_settings or {}
        self.script_args = self.script_args or {}
        self.refiner_checkpoint_info: Any = None
        self.firstpass_steps = 0
        if not self.seed_enable_extras:
            self.subseed, self.subseed_strength, self.seed_resize_from_h, self.seed_resize_from_w = -1, 0, 0, 0
        self.cached_uc = StableDiffusionProcessing.cached_uc
        self.cached_c = StableDiffusionProcessing.cached_c

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
        if self.scripts_value and self.script_args_value and not self.scripts_setup_complete:
            self.setup_scripts()

    def setup_scripts(self) -> None:
        self.scripts_setup_complete = True
        self.scripts.setup_scrips(self, is_ui=not self.is_api)

    def comment(self, text: str) -> None:
        """Shown under the picture; not returned by the API."""
        self.comments[text] = 1

    def txt2img_image_conditioning(
        self, x: torch.Tensor, width: int | None = None, height: int | None = None
    ) -> torch.Tensor:
        self.is_using_inpainting_conditioning = self.sd_model.model.conditioning_key in {"hybrid", "concat"}
        return txt2img_image_conditioning(self.sd_model, x, width or self.width, height or self.height)

    def inpainting_image_conditioning(
        self,
        source_image: torch.Tensor,
        latent_image: torch.Tensor,
        image_mask: Any = None,
        round_image_mask: bool = True,
    ) -> torch.Tensor:
        """Mask and latent of the picture without its masked part, [B, 1 + C, h, w], for inpainting models."""
        self.is_using_inpainting_conditioning = True
        if image_mask is None:
            mask = source_image.new_ones(1, 1, *source_image.shape[-2:])
        elif torch.is_tensor(image_mask):
            mask = image_mask
        else:
            mask = torch.from_numpy(np.array(image_mask.convert("L")).astype(np.float32) / 255.0)[None, None]
            mask = torch.round(mask) if round_image_mask else mask
        mask = mask.to(device=source_image.device, dtype=source_image.dtype)
        weight = getattr(self, "inpainting_mask_weight", shared.opts.inpainting_mask_weight)
        visible = torch.lerp(source_image, source_image * (1.0 - mask), weight)
        latent = self.sd_model.get_first_stage_encoding(self.sd_model.encode_first_stage(visible))
        mask = torch.nn.functional.interpolate(mask, size=latent_image.shape[-2:]).expand(latent.shape[0], -1, -1, -1)
        return torch.cat([mask, latent], dim=1).to(shared.device).type(self.sd_model.dtype)

    def img2img_image_conditioning(
        self,
        source_image: torch.Tensor,
        latent_image: torch.Tensor,
        image_mask: Any = None,
        round_image_mask: bool = True,
    ) -> torch.Tensor:
        if self.sampler.conditioning_key in {"hybrid", "concat"}:
            return self.inpainting_image_conditioning(source_image, latent_image, image_mask, round_image_mask)
        return latent_image.new_zeros(latent_image.shape[0], 5, 1, 1)

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
            StableDiffusionProcessing.cached_c = [None, None]
            StableDiffusionProcessing.cached_uc = [None, None]

    def get_token_merging_ratio(self, for_hr: bool = False) -> float:
        if for_hr:
            return (
                self.token_merging_ratio_hr
                or opts.token_merging_ratio_hr
                or self.token_merging_ratio
                or opts.token_merging_ratio
            )
        return self.token_merging_ratio or opts.token_merging_ratio

    def setup_prompts(self) -> None:
        if isinstance(self.prompt, list):
            self.all_prompts = self.prompt
        elif isinstance(self.negative_prompt, list):
            self.all_prompts = [self.prompt] * len(self.negative_prompt)
        else:
            self.all_prompts = self.batch_size * self.n_iter * [self.prompt]
        negative = self.negative_prompt
        self.all_negative_prompts = negative if isinstance(negative, list) else [negative] * len(self.all_prompts)
        if len(self.all_prompts) != len(self.all_negative_prompts):
            counts = f"({len(self.all_prompts)}) and negative prompts ({len(self.all_negative_prompts)})"
            raise RuntimeError(f"Received a different number of prompts {counts}")
        styles = shared.prompt_styles
        self.all_prompts = [styles.apply_styles_to_prompt(x, self.styles) for x in self.all_prompts]
        self.all_negative_prompts = [
            styles.apply_negative_styles_to_prompt(x, self.styles) for x in self.all_negative_prompts
        ]
        self.main_prompt = self.all_prompts[0]
        self.main_negative_prompt = self.all_negative_prompts[0]

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
        if shared.opts.use_old_scheduling:
            schedule = prompt_parser.get_learned_conditioning_prompt_schedules
            if schedule(required_prompts, steps, hires_steps, False) != schedule(
                required_prompts, steps, hires_steps, True
            ):
                self.extra_generation_params["Old prompt editing timelines"] = True
        wanted = self.cached_params(
            required_prompts, steps, extra_network_data, hires_steps, shared.opts.use_old_scheduling
        )
        for cache in caches:
            if cache[0] is not None and wanted == cache[0]:
                return cache[1]
        cache = caches[0]
        with devices.autocast():
            cache[1] = function(shared.sd_model, required_prompts, steps, hires_steps, shared.opts.use_old_scheduling)
        cache[0] = wanted
        return cache[1]

    def setup_conds(self) -> None:
        conditioning = prompt_parser.SdConditioning
        prompts = conditioning(self.prompts, width=self.width, height=self.height)
        negative_prompts = conditioning(
            self.negative_prompts, width=self.width, height=self.height, is_negative_prompt=True
        )
        config = sd_samplers.find_sampler_config(self.sampler_name)
        total_steps = config.total_steps(self.steps) if config else self.steps
        self.step_multiplier = total_steps // self.steps
        self.firstpass_steps = total_steps
        one, many = prompt_parser.get_learned_conditioning, prompt_parser.get_multicond_learned_conditioning
        self.uc = self.get_conds_with_caching(
            one, negative_prompts, total_steps, [self.cached_uc], self.extra_network_data
        )
        self.c = self.get_conds_with_caching(many, prompts, total_steps, [self.cached_c], self.extra_network_data)

    def get_conds(self) -> tuple[Any, Any]:
        return self.c, self.uc

    def parse_extra_network_prompts(self) -> None:
        self.prompts, self.extra_network_data = extra_networks.parse_prompts(self.prompts)

    def save_samples(self) -> bool:
        finished = not state.interrupted and not state.skipped
        return bool(opts.samples_save and not self.do_not_save_samples and (opts.save_incomplete_images or finished))


def _current_model(self: StableDiffusionProcessing) -> Any:
    return shared.sd_model


# After the dataclass has taken the field: `sd_model` stays an argument, but reads as whatever model is loaded now.
StableDiffusionProcessing.sd_model = property(_current_model, lambda self, value: None)  # type: ignore[assignment]
