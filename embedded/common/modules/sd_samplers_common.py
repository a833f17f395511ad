"""What all samplers share: the base class, noise from the request's seeds, latents to pictures."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, NamedTuple

import k_diffusion.sampling
import numpy as np
import torch
import torchsde._brownian.brownian_interval
from PIL import Image
from torch import Tensor

from modules import devices, rng, sd_denoisers, sd_latent_codec, sd_vae_approx, sd_vae_taesd, shared
from modules.shared import opts, state


class SamplerData(NamedTuple):
    name: str
    constructor: Callable[[Any], Sampler]
    aliases: list[str]
    options: dict[str, Any]

    def total_steps(self, steps: int) -> int:
        """Expected calls of the denoiser."""
        return steps * (2 if self.options.get("second_order") else 1)


def offered(kind: Any, table: dict[str, tuple[Any, str, dict[str, Any]]]) -> list[SamplerData]:
    """What the host lists, for (function, alias, options) by label."""
    rows = ((label, functools.partial(kind, function), *rest) for label, (function, *rest) in table.items())
    return [SamplerData(label, make, [alias], options) for label, make, alias, options in rows]


def setup_img2img_steps(p: Any, steps: int | None = None) -> tuple[int, int]:
    """(steps of the full schedule, of it that run less one); lengthened for a given number (hires) or by a setting."""
    strength = min(p.denoising_strength, 0.999)
    if steps is None and not opts.img2img_fix_steps:
        return p.steps, int(strength * p.steps)
    run = steps or p.steps
    return (int(run / strength) if p.denoising_strength > 0 else 0), run - 1


approximation_indexes = {"Full": 0, "Approx NN": 1, "Approx cheap": 2, "TAESD": 3}


def samples_to_images_tensor(sample: Tensor, approximation: int | None = None, model: Any = None) -> Tensor:
    """Latents [B, 4, h, w] to pictures in -1..1, by default as previews are made."""
    if approximation is None or (state.interrupted and opts.live_preview_fast_interrupt):
        approximation = sd_latent_codec.for_previews(approximation_indexes.get(opts.show_progress_type, 0))
    if approximation == 0:
        return sd_latent_codec.decode(model or shared.sd_model, sample)
    if approximation == 2:
        return sd_vae_approx.cheap_approximation(sample)
    network = sd_vae_approx.model() if approximation == 1 else sd_vae_taesd.decoder_model()
    pictures = network(sample.to(devices.device, devices.dtype)).detach()
    return pictures if approximation == 1 else pictures * 2 - 1


def decode_first_stage(model: Any, x: Tensor) -> Tensor:
    return samples_to_images_tensor(x, 0, model)


def single_sample_to_image(sample: Tensor, approximation: int | None = None) -> Image.Image:
    pixels = samples_to_images_tensor(sample[None], approximation)[0].float().cpu() / 2 + 0.5
    return Image.fromarray((pixels.clamp(0, 1).numpy().transpose(1, 2, 0) * 255.0).astype(np.uint8))


def images_tensor_to_samples(image: Tensor, approximation: int | None = None, model: Any = None) -> Tensor:
    """Pictures [B, 3, H, W] in 0..1 to latents, one by one, drawn from the encoder's distribution."""
    signed = image.to(shared.device, devices.dtype_vae) * 2 - 1
    return torch.cat([sd_latent_codec.encode_signed(model or shared.sd_model, picture) for picture in signed.split(1)])


def store_latent(decoded: Tensor) -> None:
    state.current_latent = decoded


def is_sampler_using_eta_noise_seed_delta(p: Any) -> bool:
    from modules import sd_samplers

    config = sd_samplers.find_sampler_config(p.sampler_name)
    if config is None or not config.options.get("uses_ensd"):
        return False
    known = [eta for eta in (p.eta, getattr(p.sampler, "eta", None)) if eta is not None]
    return not known or known[0] != 0


Start = tuple[Tensor, dict[str, Any]]
"""The latents that a sampler begins with, and further arguments of its function."""


class InterruptedException(BaseException):
    """Ends sampling; the last latent becomes the result. No Exception, so that `except Exception` does not catch it."""


def _brownian(size: Any, dtype: torch.dtype, device: Any, seed: int) -> Tensor:
    return rng.randn_local(seed, size).to(device=device, dtype=dtype)


torchsde._brownian.brownian_interval._randn = _brownian


class Sampler:
    """Made anew for each batch and pass. `sampler_extra_args` goes to the denoiser's `forward` at every call."""

    model_wrap: Any = None
    model_wrap_cfg: Any = None
    config: Any = None
    last_latent: Any = None
    stop_at: int | None = None
    eta_option_field, eta_infotext_field, eta_default = "eta_ancestral", "Eta", 1.0

    def __init__(self, funcname: Any) -> None:
        self.funcname = self.func = funcname
        self.extra_params: list[str] = []
        self.sampler_extra_args: dict[str, Any] = {}

    def callback_state(self, d: dict[str, Any]) -> None:
        """k-diffusion's callback, after each step's first call."""
        if self.stop_at is not None and d["i"] > self.stop_at:
            raise InterruptedException
        state.sampling_step = d["i"]

    def launch_sampling(self, steps: int, func: Callable[[], Any]) -> Any:
        """`func()`, or the last latent where it was interrupted."""
        state.sampling_step, state.sampling_steps = 0, steps
        try:
            return func()
        except InterruptedException:
            return self.last_latent

    def initialize(self, p: Any) -> dict[str, Any]:
        """Ties this sampler to a request and returns the sampling function's further arguments."""
        denoiser, self.p = self.model_wrap_cfg, p
        denoiser.p, denoiser.step = p, 0
        for name in ("mask", "nmask", "image_cfg_scale"):
            setattr(denoiser, name, getattr(p, name, None))
        # what draws noise in k-diffusion draws from the request's seeds
        own = {"randn_like": lambda x: p.rng.next()}
        k_diffusion.sampling.torch = SimpleNamespace(**{**vars(torch), **own})
        self.s_min_uncond = opts.s_min_uncond if p.s_min_uncond is None else p.s_min_uncond
        self.eta = getattr(opts, self.eta_option_field) if p.eta is None else p.eta
        taken, found = inspect.signature(self.func).parameters, {}
        if "eta" in taken:
            found["eta"] = self.eta
            if self.eta != self.eta_default:
                p.extra_generation_params[self.eta_infotext_field] = self.eta
        for name, default in {"s_churn": 0.0, "s_tmin": 0.0, "s_tmax": float("inf"), "s_noise": 1.0}.items():
            if name in taken and name in self.extra_params:
                found[name] = getattr(opts, name) or default
                if found[name] != default:
                    p.extra_generation_params[f"Sigma {name[2:]}"] = found[name]
        return found

    def create_noise_sampler(self, x: Tensor, sigmas: Tensor, p: Any) -> Any:
        """Brownian noise over the whole schedule, one tree an image, so that batches change nothing."""
        if opts.no_dpmpp_sde_batch_determinism:
            return None
        batch = slice(p.iteration * p.batch_size, (p.iteration + 1) * p.batch_size)
        above = sigmas[sigmas > 0]
        return k_diffusion.sampling.BrownianTreeNoiseSampler(x, above.min(), above.max(), seed=p.all_seeds[batch])

    def _discards_second_last(self, notes: dict[str, Any]) -> bool:
        if self.config is not None and self.config.options.get("discard_next_to_last_sigma"):
            return True
        if opts.always_discard_next_to_last_sigma:
            notes["Discard penultimate sigma"] = True
        return bool(opts.always_discard_next_to_last_sigma)

    def _run(self, p: Any, steps: int, begin: Start, conds: tuple[Any, Any, Any]) -> Any:
        """The function, with those offered arguments that it takes; `conds`: of prompt, negative prompt and picture."""
        (start, offered), arguments = begin, self.initialize(p)
        taken = inspect.signature(self.func).parameters
        arguments.update((name, value) for name, value in offered.items() if name in taken)
        cond, uncond, picture = conds
        self.sampler_extra_args = {"cond": cond, "uncond": uncond, "image_cond": picture}
        self.sampler_extra_args |= {"cond_scale": p.cfg_scale, "s_min_uncond": self.s_min_uncond}
        arguments |= {"extra_args": self.sampler_extra_args, "callback": self.callback_state, "disable": False}
        self.model_wrap_cfg.steps, self.model_wrap_cfg.total_steps = steps, self.config.total_steps(steps)
        with sd_denoisers.running(self.model_wrap, start):
            latents = self.launch_sampling(steps, lambda: self.func(self.model_wrap_cfg, start, **arguments))
            if self.model_wrap_cfg.padded_cond_uncond:
                p.extra_generation_params["Pad conds"] = True
        return latents

    def _from_noise(self, p: Any, x: Tensor, steps: int) -> Start:
        raise NotImplementedError

    def _from_latents(self, p: Any, x: Tensor, noise: Tensor, total: int, run: int) -> Start:
        raise NotImplementedError

    def sample(self, p, x, conditioning, unconditional_conditioning, steps=None, image_conditioning=None) -> Any:
        """Latents [B, 4, h, w] from noise x of that shape."""
        count = steps or p.steps
        begin = self._from_noise(p, x, count)
        self.last_latent = begin[0]
        return self._run(p, count, begin, (conditioning, unconditional_conditioning, image_conditioning))

    def sample_img2img(
        self, p, x, noise, conditioning, unconditional_conditioning, steps=None, image_conditioning=None
    ) -> Any:
        """The same from latents x with noise on them."""
        total, run = setup_img2img_steps(p, steps)
        begin = self._from_latents(p, x, noise, total, run)
        self.model_wrap_cfg.init_latent = self.last_latent = x
        return self._run(p, run + 1, begin, (conditioning, unconditional_conditioning, image_conditioning))
