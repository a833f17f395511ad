"""A request as the host carries it through a generation: what both txt2img and img2img have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from modules import devices, extra_networks, model_handling, prompt_parser, sd_latent_codec, sd_samplers, shared
from modules.processing_result import RequestFields
from modules.shared import opts, state

NOT_YET: Any = None


def _followed_by_setup(name: str) -> property:
    """Scripts are set up once a request has both them and their arguments."""

    def put(p: Any, value: Any) -> None:
        vars(p)[name] = value
        if p.scripts and p.script_args and not p.scripts_setup_complete:
            p.scripts_setup_complete = True
            p.scripts.call("setup", p, is_ui=not p.is_api)

    return property(lambda p: vars(p).get(name), put)


class RequestState:
    """What a request gathers while it runs; no caller gives any of it."""

    sampler = rng = c = uc = extra_network_data = firstpass_image = NOT_YET
    all_prompts = all_negative_prompts = all_seeds = all_subseeds = NOT_YET
    prompts = negative_prompts = seeds = subseeds = NOT_YET
    main_prompt = main_negative_prompt = ""
    refiner_checkpoint_info = sampler_noise_scheduler_override = user = NOT_YET
    sd_model_name = sd_model_hash = NOT_YET
    mask = nmask = init_latent = mask_for_overlay = overlay_images = NOT_YET
    iteration = batch_index = firstpass_steps = 0
    step_multiplier = 1
    is_api = is_hr_pass = is_using_inpainting_conditioning = scripts_setup_complete = False
    scripts, script_args = _followed_by_setup("_scripts"), _followed_by_setup("_script_args")


@dataclass(repr=False)
class StableDiffusionProcessing(RequestFields, RequestState):
    sd_model: Any = None
    outpath_samples: str = None  # type: ignore[assignment]
    outpath_grids: str = None  # type: ignore[assignment]
    prompt: str = ""
    negative_prompt: str = ""
    styles: list[str] = None  # type: ignore[assignment]
    seed: int = -1
    subseed: int = -1
    subseed_strength: float = 0
    sampler_name: str = None  # type: ignore[assignment]
    scheduler: str = None  # type: ignore[assignment]
    batch_size: int = 1
    n_iter: int = 1
    steps: int = 50
    cfg_scale: float = 7.0
    width: int = 512
    height: int = 512
    tiling: bool = None  # type: ignore[assignment]
    do_not_save_samples: bool = False
    do_not_save_grid: bool = False
    extra_generation_params: dict[str, Any] = None  # type: ignore[assignment]
    eta: float = None  # type: ignore[assignment]
    denoising_strength: float = None  # type: ignore[assignment]
    s_min_uncond: float = None  # type: ignore[assignment]
    override_settings: dict[str, Any] = None  # type: ignore[assignment]
    override_settings_restore_afterwards: bool = True
    refiner_checkpoint: str = None  # type: ignore[assignment]
    refiner_switch_at: float = None  # type: ignore[assignment]
    disable_extra_networks: bool = False

    cached_uc = [None, None]
    cached_c = [None, None]

    def __post_init__(self) -> None:
        """The caches of conditioning are everybody's."""
        self.comments: dict[str, int] = {}
        self.styles = self.styles or []
        self.extra_generation_params = self.extra_generation_params or {}
        self.override_settings = self.override_settings or {}
        for name in self.caches():
            setattr(self, name, getattr(type(self), name))

    @classmethod
    def caches(cls) -> list[str]:
        return [name for name in dir(cls) if name.startswith("cached_")]

    def clear_prompt_cache(self) -> None:
        """Nobody's reading of a prompt holds any longer."""
        for name in self.caches():
            owner = next(kind for kind in type(self).__mro__ if name in vars(kind))
            setattr(owner, name, [None, None])
            setattr(self, name, getattr(owner, name))

    def note(self, name: str, value: Any) -> None:
        self.extra_generation_params[name] = value

    def comment(self, text: str) -> None:
        """Shown under the picture; not returned by the API."""
        self.comments[text] = 1

    def tell_scripts(self, hook: str, *given: Any, **named: Any) -> None:
        if self.scripts is not None:
            getattr(self.scripts, hook)(self, *given, **named)

    def txt2img_image_conditioning(self, x: torch.Tensor) -> torch.Tensor:
        """Of a grey picture that is masked everywhere, of the first pass's size in the hires pass too (hosts fail)."""
        return self.img2img_image_conditioning(x.new_zeros(len(x), 3, self.height, self.width), x)

    def img2img_image_conditioning(self, source_image: Any, latent_image: Any, mask: Any = None) -> torch.Tensor:
        """Mask and latent of the picture (in -1..1) without its masked part [B, 1 + C, h, w]; mostly a dummy."""
        self.is_using_inpainting_conditioning = model_handling.takes_a_picture(self.sd_model)
        if not self.is_using_inpainting_conditioning:
            return latent_image.new_zeros(len(latent_image), 5, 1, 1)
        whole = torch.ones(1, 1, *source_image.shape[2:])
        mask = (whole if mask is None else mask).to(source_image)
        weight = getattr(self, "inpainting_mask_weight", opts.inpainting_mask_weight)
        visible = torch.lerp(source_image, source_image * (1.0 - mask), weight)
        latent = sd_latent_codec.encode_signed(self.sd_model, visible)
        small = torch.nn.functional.interpolate(mask, size=latent.shape[2:]).expand(len(latent), -1, -1, -1)
        return torch.cat([small.to(latent), latent], dim=1).to(shared.device)

    def init(self, all_prompts: Any, all_seeds: Any, all_subseeds: Any) -> None:
        """Once a request, before its first batch."""

    def close(self) -> None:
        self.sampler = self.c = self.uc = None

    def setup_prompts(self) -> None:
        """One entry a picture."""
        count = self.batch_size * self.n_iter
        self.main_prompt, self.main_negative_prompt = self.prompt, self.negative_prompt
        self.all_prompts, self.all_negative_prompts = [self.prompt] * count, [self.negative_prompt] * count

    def get_conds_with_caching(
        self, function, required_prompts, steps, caches, extra_network_data, hires_steps=None
    ) -> Any:
        """`function(model, prompts, ...)`, or what one of the caches ([arguments, result]) holds for equal arguments.
        The model counts by its checkpoint alone: weights exchanged under it go unnoticed.
        """
        model, settings = shared.sd_model, opts.CLIP_stop_at_last_layers
        asked = (required_prompts, steps, hires_steps, extra_network_data, model.sd_checkpoint_info, settings)
        for cache in caches:
            if cache[0] == asked:
                return cache[1]
        model_handling.before_reading()
        with devices.autocast():
            found = function(model, required_prompts, steps, hires_steps)
        caches[0][:] = asked, found
        return found

    def _read(self, prompts: list[str], negative: list[str], cfg: float, caches: Any, how: Any) -> tuple[Any, Any]:
        """(conditioning of the prompts, of the negative ones); the latter is None where the host needs none."""
        reader, uc = prompt_parser.get_learned_conditioning, None
        if not model_handling.leaves_uncond_out(cfg):
            uc = self.get_conds_with_caching(reader, negative, caches=caches[1], **how)
        reader = prompt_parser.get_multicond_learned_conditioning
        return self.get_conds_with_caching(reader, prompts, caches=caches[0], **how), uc

    def setup_conds(self) -> None:
        config = sd_samplers.find_sampler_config(self.sampler_name)
        self.firstpass_steps = config.total_steps(self.steps) if config else self.steps
        self.step_multiplier = self.firstpass_steps // self.steps
        how = {"steps": self.firstpass_steps, "extra_network_data": self.extra_network_data}
        caches = ([self.cached_c], [self.cached_uc])
        self.c, self.uc = self._read(self.prompts, self.negative_prompts, self.cfg_scale, caches, how)

    def take_batch(self, *names: str) -> None:
        """Sets `prompts` and the like to this batch's part of `all_prompts` and the like."""
        first = self.iteration * self.batch_size
        for name in names:
            setattr(self, name, getattr(self, f"all_{name}")[first : first + self.batch_size])

    def get_conds(self) -> tuple[Any, Any]:
        return self.c, self.uc

    def parse_extra_network_prompts(self) -> None:
        self.prompts, self.extra_network_data = extra_networks.parse_prompts(self.prompts)

    def save_samples(self) -> bool:
        whole = not (state.interrupted or state.skipped)
        return bool(whole and opts.samples_save and not self.do_not_save_samples)

    def before_sampling(self, x: Any, noise: Any, c: Any, uc: Any) -> None:
        """The hook before each pass."""
        self.tell_scripts("process_before_every_sampling", x=x, noise=noise, c=c, uc=uc)


# After the dataclass has taken the field: `sd_model` stays an argument, but reads as whatever model is loaded now.
StableDiffusionProcessing.sd_model = property(lambda self: shared.sd_model, lambda self, value: None)  # type: ignore[assignment]
