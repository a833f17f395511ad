"""What all samplers share: the base class, noise from the request's seeds, latents to pictures, the native Refiner's
switch.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import k_diffusion.sampling
import numpy as np
import torch
import torchsde._brownian.brownian_interval
from PIL import Image

from modules import devices, images, sd_models, shared
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
    if opts.img2img_fix_steps or steps is not None:
        requested = steps or p.steps
        return (int(requested / min(p.denoising_strength, 0.999)) if p.denoising_strength > 0 else 0), requested - 1
    return p.steps, int(min(p.denoising_strength, 0.999) * p.steps)


approximation_indexes = {"Full": 0, "Approx NN": 1, "Approx cheap": 2, "TAESD": 3}

# Least-squares colours of Stable Diffusion 1.x's four latent channels, as previews have used them since the first
# WebUIs.
_LATENT_RGB = [[0.298, 0.207, 0.208], [0.187, 0.286, 0.173], [-0.158, 0.189, 0.264], [-0.184, -0.271, -0.473]]


def samples_to_images_tensor(sample: torch.Tensor, approximation: int | None = None, model: Any = None) -> torch.Tensor:
    """Latents [B, 4, h, w] to pictures in -1..1. "Approx cheap" colours each latent pixel; all else decodes, since the
    networks that the host's other approximations need are downloads.
    """
    if approximation is None or (state.interrupted and opts.live_preview_fast_interrupt):
        approximation = approximation_indexes.get(opts.show_progress_type, 0)
    if approximation == 2:
        colours = torch.tensor(_LATENT_RGB).to(sample.device, sample.dtype)
        return torch.einsum("bchw,cr->brhw", sample, colours)
    model = model or shared.sd_model
    with torch.no_grad(), devices.without_autocast():
        return model.decode_first_stage(sample.to(model.first_stage_model.dtype))


def single_sample_to_image(sample: torch.Tensor, approximation: int | None = None) -> Image.Image:
    x = torch.clamp(samples_to_images_tensor(sample.unsqueeze(0), approximation)[0] * 0.5 + 0.5, min=0.0, max=1.0)
    return Image.fromarray((255.0 * np.moveaxis(x.float().cpu().numpy(), 0, 2)).astype(np.uint8))


def decode_first_stage(model: Any, x: torch.Tensor) -> torch.Tensor:
    return samples_to_images_tensor(
        x.to(devices.dtype_vae), approximation_indexes.get(opts.sd_vae_decode_method, 0), model
    )


def sample_to_image(samples: torch.Tensor, index: int = 0, approximation: int | None = None) -> Image.Image:
    return single_sample_to_image(samples[index], approximation)


def samples_to_image_grid(samples: torch.Tensor, approximation: int | None = None) -> Image.Image:
    return images.image_grid([single_sample_to_image(sample, approximation) for sample in samples])


def images_tensor_to_samples(image: torch.Tensor, approximation: int | None = None, model: Any = None) -> torch.Tensor:
    """Pictures [B, 3, H, W] in 0..1 to latents, one by one, drawn from the encoder's distribution."""
    del approximation
    model = model or shared.sd_model
    model.first_stage_model.to(devices.dtype_vae)
    image = image.to(shared.device, dtype=devices.dtype_vae) * 2 - 1
    rows = [model.get_first_stage_encoding(model.encode_first_stage(row.unsqueeze(0)))[0] for row in image]
    return torch.stack(rows)


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
    eta = p.eta
    if eta is None and p.sampler is not None:
        eta = p.sampler.eta
    if eta is None and config is not None:
        eta = 0 if config.options.get("default_eta_is_0", False) else 1.0
    return eta != 0 and config is not None and bool(config.options.get("uses_ensd", False))


class InterruptedException(BaseException):
    """Ends sampling; the last latent becomes the result. No Exception, so that `except Exception` does not catch it."""


def _torchsde_randn(size: Any, dtype: torch.dtype, device: Any, seed: int) -> torch.Tensor:
    return devices.randn_local(seed, size).to(device=device, dtype=dtype)  # type: ignore[attr-defined]


torchsde._brownian.brownian_interval._randn = (
    _torchsde_randn  # Brownian noise from the host's generators, as the host arranges it
)


def _refiner_ratio(cfg_denoiser: Any, sigma: torch.Tensor | None) -> Any:
    """How much of the sampling is done. By calls of the denoiser, or by the noise level's place among the model's
    sigmas; a timestep sampler's "sigma" is a timestep. With LCM's 50 sigmas the second says 0.95 at once.
    """
    if opts.refiner_switch_by_sample_steps or sigma is None:
        cfg_denoiser.p.extra_generation_params["Refiner switch by sampling steps"] = True
        return cfg_denoiser.step / cfg_denoiser.total_steps
    try:
        timestep = torch.argmin(torch.abs(cfg_denoiser.inner_model.sigmas.to(sigma.device) - torch.max(sigma)))
    except AttributeError:
        timestep = torch.max(sigma).to(dtype=torch.int)
    return (999 - timestep) / 1000


def _refiner_wanted_in_this_pass(p: Any) -> bool:
    if not getattr(p, "enable_hr", False):
        return True
    wanted = opts.hires_fix_refiner_pass
    if (wanted == "first pass" and p.is_hr_pass) or (wanted == "second pass" and not p.is_hr_pass):
        return False
    if wanted != "second pass":
        p.extra_generation_params["Hires refiner"] = wanted
    return True


def apply_refiner(cfg_denoiser: Any, sigma: torch.Tensor | None = None) -> bool:
    """Loads the refiner's checkpoint in place of the base's once enough is done; True in the call that did so."""
    ratio, p = _refiner_ratio(cfg_denoiser, sigma), cfg_denoiser.p
    info = p.refiner_checkpoint_info
    if p.refiner_switch_at is not None and ratio < p.refiner_switch_at:
        return False
    if info is None or shared.sd_model.sd_checkpoint_info == info or not _refiner_wanted_in_this_pass(p):
        return False
    p.extra_generation_params["Refiner"] = info.short_title
    p.extra_generation_params["Refiner switch at"] = p.refiner_switch_at
    with sd_models.SkipWritingToConfig():
        sd_models.reload_model_weights(info=info)
    devices.torch_gc()
    p.setup_conds()
    cfg_denoiser.update_inner_model()
    return True


class TorchHijack:
    """Stands in for `torch` inside k-diffusion, so that `torch.randn_like` draws from the request's seeds."""

    def __init__(self, p: Any) -> None:
        self.rng = p.rng

    def __getattr__(self, item: str) -> Any:
        return getattr(torch, item)

    def randn_like(self, x: torch.Tensor) -> torch.Tensor:
        return self.rng.next()


class Sampler:
    """Made anew for each batch and pass. `sampler_extra_args` is handed to the denoiser's `forward` as keywords at
    every call.
    """

    model_wrap: Any

    def __init__(self, funcname: Any) -> None:
        self.funcname = funcname
        self.func: Any = funcname
        self.extra_params: list[str] = []
        self.sampler_noises: Any = None
        self.stop_at: int | None = None
        self.eta: Any = None
        self.config: Any = None
        self.last_latent: Any = None
        self.s_min_uncond: float = 0.0
        self.s_churn = 0.0
        self.s_tmin = 0.0
        self.s_tmax = float("inf")
        self.s_noise = 1.0
        self.eta_option_field = "eta_ancestral"
        self.eta_infotext_field = "Eta"
        self.eta_default = 1.0
        self.conditioning_key = getattr(shared.sd_model.model, "conditioning_key", "crossattn")
        self.p: Any = None
        self.model_wrap_cfg: Any = None
        self.sampler_extra_args: dict[str, Any] = {}
        self.options: dict[str, Any] = {}

    def callback_state(self, d: dict[str, Any]) -> None:
        step = d["i"]
        if self.stop_at is not None and step > self.stop_at:
            raise InterruptedException
        state.sampling_step = step
        shared.total_tqdm.update()

    def launch_sampling(self, steps: int, func: Callable[[], Any]) -> Any:
        self.model_wrap_cfg.steps = steps
        self.model_wrap_cfg.total_steps = self.config.total_steps(steps)
        state.sampling_steps = steps
        state.sampling_step = 0
        try:
            return func()
        except RecursionError:
            print("Encountered RecursionError during sampling, returning last latent.")
            return self.last_latent
        except InterruptedException:
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
        self.eta = p.eta if p.eta is not None else getattr(opts, self.eta_option_field, 0.0)
        self.s_min_uncond = getattr(p, "s_min_uncond", 0.0)
        k_diffusion.sampling.torch = TorchHijack(p)
        known = inspect.signature(self.func).parameters
        arguments = {name: getattr(p, name) for name in self.extra_params if hasattr(p, name) and name in known}
        if "eta" in known:
            if self.eta != self.eta_default:
                p.extra_generation_params[self.eta_infotext_field] = self.eta
            arguments["eta"] = self.eta
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
        if shared.opts.no_dpmpp_sde_batch_determinism:
            return None
        seeds = p.all_seeds[p.iteration * p.batch_size : (p.iteration + 1) * p.batch_size]
        return k_diffusion.sampling.BrownianTreeNoiseSampler(x, sigmas[sigmas > 0].min(), sigmas.max(), seed=seeds)

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

        samples = self.launch_sampling(steps, run)
        self.add_infotext(p)
        return samples

    def add_infotext(self, p: Any) -> None:
        if self.model_wrap_cfg.padded_cond_uncond:
            p.extra_generation_params["Pad conds"] = True
        if self.model_wrap_cfg.padded_cond_uncond_v0:
            p.extra_generation_params["Pad conds v0"] = True
