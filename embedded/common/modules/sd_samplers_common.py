"""What all samplers share: the base class, noise from the request's seeds, latents to pictures."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import k_diffusion.sampling
import numpy as np
import torch
import torchsde._brownian.brownian_interval
from PIL import Image

from modules import devices, images, sd_denoisers, sd_latent_codec, sd_vae_approx, sd_vae_taesd, shared
from modules.script_callbacks import ExtraNoiseParams, extra_noise_callback
from modules.sd_refiner import apply_refiner
from modules.shared import opts, state


class SamplerDataTuple(NamedTuple):
    name: str
    constructor: Callable[[Any], Sampler]
    aliases: list[str]
    options: dict[str, Any]


class SamplerData(SamplerDataTuple):
    def total_steps(self, steps: int) -> int:
        """Expected calls of the denoiser: twice the steps for second-order samplers."""
        return steps * 2 if self.options.get("second_order", False) else steps


def setup_img2img_steps(p: Any, steps: int | None = None) -> tuple[int, int]:
    """(steps of the full schedule, steps of it that run less one). With a given number of steps (hires) or the setting
    to do them all, the schedule is lengthened so that they fit below the start noise.
    """
    strength = min(p.denoising_strength, 0.999)
    if steps is None and not opts.img2img_fix_steps:
        return p.steps, int(strength * p.steps)
    run = steps or p.steps
    return (int(run / strength) if p.denoising_strength > 0 else 0), run - 1


_APPROXIMATIONS = ("Full", "Approx NN", "Approx cheap", "TAESD")
approximation_indexes = {name: index for index, name in enumerate(_APPROXIMATIONS)}


def _index_of(approximation: str) -> int:
    return approximation_indexes.get(approximation, 0)


def samples_to_images_tensor(sample: torch.Tensor, approximation: int | None = None, model: Any = None) -> torch.Tensor:
    """Latents [B, 4, h, w] to pictures in -1..1, by default as previews are made."""
    if approximation is None or (state.interrupted and opts.live_preview_fast_interrupt):
        approximation = sd_latent_codec.for_previews(_index_of(opts.show_progress_type))
    kind = _APPROXIMATIONS[approximation]
    if kind == "Full":
        return sd_latent_codec.decode(model or shared.sd_model, sample)
    network = {"Approx NN": sd_vae_approx.model, "TAESD": sd_vae_taesd.decoder_model}.get(kind, lambda: None)()
    if network is None:
        return sd_vae_approx.cheap_approximation(sample)
    x_sample = network(sample.to(devices.device, devices.dtype)).detach()
    return x_sample * 2 - 1 if kind == "TAESD" else x_sample


def single_sample_to_image(sample: torch.Tensor, approximation: int | None = None) -> Image.Image:
    x = torch.clamp(samples_to_images_tensor(sample.unsqueeze(0), approximation)[0] * 0.5 + 0.5, min=0.0, max=1.0)
    return Image.fromarray((255.0 * np.moveaxis(x.float().cpu().numpy(), 0, 2)).astype(np.uint8))


def decode_first_stage(model: Any, x: torch.Tensor) -> torch.Tensor:
    return samples_to_images_tensor(sd_latent_codec.for_decoding(x), _index_of(opts.sd_vae_decode_method), model)


def sample_to_image(samples: torch.Tensor, index: int = 0, approximation: int | None = None) -> Image.Image:
    latent = samples[index]
    return single_sample_to_image(latent, approximation)


def samples_to_image_grid(samples: torch.Tensor, approximation: int | None = None) -> Image.Image:
    pictures = [single_sample_to_image(latent, approximation) for latent in samples]
    return images.image_grid(pictures)


def images_tensor_to_samples(image: torch.Tensor, approximation: int | None = None, model: Any = None) -> torch.Tensor:
    """Pictures [B, 3, H, W] in 0..1 to latents, drawn from the encoder's distribution."""
    if approximation is None:
        approximation = _index_of(opts.sd_vae_encode_method)
    if _APPROXIMATIONS[approximation] == "TAESD":
        return sd_vae_taesd.encoder_model()(image.to(devices.device, devices.dtype))
    return sd_latent_codec.encode(model or shared.sd_model, image)


def store_latent(decoded: torch.Tensor) -> None:
    state.current_latent = decoded
    period = opts.show_progress_every_n_steps
    if (
        opts.live_previews_enable
        and period > 0
        and state.sampling_step % period == 0
        and not shared.parallel_processing_allowed
    ):
        state.assign_current_image(sample_to_image(decoded))


def is_sampler_using_eta_noise_seed_delta(p: Any) -> bool:
    from modules import sd_samplers

    config = sd_samplers.find_sampler_config(p.sampler_name)
    if config is None or not config.options.get("uses_ensd", False):
        return False
    default = 0 if config.options.get("default_eta_is_0", False) else 1.0
    candidates = (p.eta, getattr(p.sampler, "eta", None), default)
    return next(eta for eta in candidates if eta is not None) != 0


class InterruptedException(BaseException):
    """Ends sampling; the last latent becomes the result. No Exception, so that `except Exception` does not catch it."""


def _torchsde_randn(size: Any, dtype: torch.dtype, device: Any, seed: int) -> torch.Tensor:
    return devices.randn_local(seed, size).to(device=device, dtype=dtype)  # type: ignore[attr-defined]


torchsde._brownian.brownian_interval._randn = (
    _torchsde_randn  # Brownian noise from the host's generators, as the host arranges it
)


class TorchHijack:
    """Stands in for `torch` inside k-diffusion, so that `torch.randn_like` draws from the request's seeds."""

    def __init__(self, p: Any) -> None:
        self.rng = p.rng  # the hires pass has its own, and with it its own stand-in

    def __getattr__(self, item: str) -> Any:
        return getattr(torch, item)

    def randn_like(self, x: torch.Tensor) -> torch.Tensor:
        return self.rng.next()


class Sampler:
    """Made anew for each batch and pass. `sampler_extra_args` is handed to the denoiser's `forward` as keywords at
    every call.
    """

    model_wrap: Any
    model_wrap_cfg: Any = None
    p: Any = None
    config: Any = None
    last_latent: Any = None
    sampler_noises: Any = None
    stop_at: int | None = None
    eta: Any = None
    eta_option_field = "eta_ancestral"
    eta_infotext_field = "Eta"
    eta_default = 1.0
    s_min_uncond: float = 0.0
    # k-diffusion's defaults, from which the settings may differ
    s_churn = 0.0
    s_tmin = 0.0
    s_tmax = float("inf")
    s_noise = 1.0

    def __init__(self, funcname: Any) -> None:
        self.funcname = funcname
        self.func: Any = funcname
        self.conditioning_key = sd_denoisers.conditioning_key()
        self.extra_params: list[str] = []
        self.sampler_extra_args: dict[str, Any] = {}
        self.options: dict[str, Any] = {}

    def callback_state(self, d: dict[str, Any]) -> None:
        step = d["i"]
        last = self.stop_at
        if last is not None and step > last:
            raise InterruptedException
        state.sampling_step = step
        shared.total_tqdm.update()

    def launch_sampling(self, steps: int, func: Callable[[], Any]) -> Any:
        denoiser = self.model_wrap_cfg
        denoiser.steps, denoiser.total_steps = steps, self.config.total_steps(steps)
        state.sampling_steps, state.sampling_step = steps, 0
        try:
            return func()
        except InterruptedException:
            return self.last_latent
        except RecursionError:  # adaptive solvers may go too deep
            print("Sampling recursed too deeply; the last latent is the result.")
            return self.last_latent

    def number_of_needed_noises(self, p: Any) -> int:
        return p.steps

    def initialize(self, p: Any) -> dict[str, Any]:
        """Ties this sampler to a request and returns the sampling function's further arguments."""
        self.p = p
        denoiser = self.model_wrap_cfg
        denoiser.p = p
        denoiser.mask = getattr(p, "mask", None)
        denoiser.nmask = getattr(p, "nmask", None)
        denoiser.step = 0
        denoiser.image_cfg_scale = getattr(p, "image_cfg_scale", None)
        self.eta = getattr(opts, self.eta_option_field, 0.0) if p.eta is None else p.eta
        self.s_min_uncond = getattr(p, "s_min_uncond", 0.0)
        k_diffusion.sampling.torch = TorchHijack(p)
        known = inspect.signature(self.func).parameters
        arguments = {name: getattr(p, name) for name in self.extra_params if hasattr(p, name) and name in known}
        if "eta" in known:
            arguments["eta"] = eta = self.eta
            if eta != self.eta_default:
                p.extra_generation_params[self.eta_infotext_field] = eta
        if self.extra_params:
            self._churn_settings(p, arguments)
        return arguments

    def _churn_settings(self, p: Any, arguments: dict[str, Any]) -> None:
        """The settings win over what the request says; the host's `getattr(opts, name, p.name)` always finds the
        setting.
        """
        wanted = {
            "s_churn": opts.s_churn,
            "s_tmin": opts.s_tmin,
            "s_tmax": opts.s_tmax or self.s_tmax,
            "s_noise": opts.s_noise,
        }
        for name, value in wanted.items():
            if name in arguments and value != getattr(self, name):
                arguments[name] = value
                setattr(p, name, value)
                p.extra_generation_params["Sigma " + name.removeprefix("s_")] = value

    def create_noise_sampler(self, x: torch.Tensor, sigmas: torch.Tensor, p: Any) -> Any:
        """Brownian noise, one tree an image, so that batches change nothing. Spans the whole schedule, img2img's unused
        part included.
        """
        if opts.no_dpmpp_sde_batch_determinism:
            return None
        first = p.iteration * p.batch_size
        seeds = p.all_seeds[first : first + p.batch_size]
        low, high = sigmas[sigmas > 0].min(), sigmas.max()
        return k_diffusion.sampling.BrownianTreeNoiseSampler(x, low, high, seed=seeds)

    def sample(
        self,
        p: Any,
        x: torch.Tensor,
        conditioning: Any,
        unconditional_conditioning: Any,
        steps: int | None = None,
        image_conditioning: Any = None,
    ) -> Any:
        raise NotImplementedError

    def sample_img2img(
        self,
        p: Any,
        x: torch.Tensor,
        noise: torch.Tensor,
        conditioning: Any,
        unconditional_conditioning: Any,
        steps: int | None = None,
        image_conditioning: Any = None,
    ) -> Any:
        raise NotImplementedError

    def _discards_second_last(self, notes: dict[str, Any]) -> bool:
        if self.config is not None and self.config.options.get("discard_next_to_last_sigma", False):
            return True
        if opts.always_discard_next_to_last_sigma:
            notes["Discard penultimate sigma"] = True
        return bool(opts.always_discard_next_to_last_sigma)

    def _with_extra_noise(
        self, p: Any, noise: torch.Tensor, x: torch.Tensor, xi: torch.Tensor, level: torch.Tensor | float = 1.0
    ) -> torch.Tensor:
        """Noise beyond the schedule's, which extensions may replace, where the setting wants any."""
        strength = opts.img2img_extra_noise
        if strength <= 0:
            return xi
        p.extra_generation_params["Extra noise"] = strength
        params = ExtraNoiseParams(noise, x, xi)
        extra_noise_callback(params)
        return xi.add_(params.noise * strength * level)

    def _extra_args(
        self, p: Any, conditioning: Any, unconditional_conditioning: Any, image_conditioning: Any
    ) -> dict[str, Any]:
        return {
            "cond": conditioning,
            "image_cond": image_conditioning,
            "uncond": unconditional_conditioning,
            "cond_scale": p.cfg_scale,
            "s_min_uncond": self.s_min_uncond,
        }

    def _run(self, p: Any, steps: int, x: torch.Tensor, arguments: dict[str, Any]) -> Any:
        def run() -> Any:
            return self.func(
                self.model_wrap_cfg,
                x,
                extra_args=self.sampler_extra_args,
                disable=False,
                callback=self.callback_state,
                **arguments,
            )

        with sd_denoisers.running(self.model_wrap, x):
            samples = self.launch_sampling(steps, run)
            self.add_infotext(p)
        return samples

    def add_infotext(self, p: Any) -> None:
        denoiser = self.model_wrap_cfg
        padded = {"Pad conds": denoiser.padded_cond_uncond, "Pad conds v0": denoiser.padded_cond_uncond_v0}
        p.extra_generation_params.update({name: True for name, done in padded.items() if done})


__all__ = ["InterruptedException", "Sampler", "SamplerData", "apply_refiner", "setup_img2img_steps"]
