"""Samplers of k-diffusion."""

from __future__ import annotations

import inspect
from typing import Any

import k_diffusion.sampling
import torch

from modules import (
    devices,
    flavour_samplers,
    sd_denoisers,
    sd_samplers_cfg_denoiser,
    sd_samplers_common,
    sd_samplers_extra,
    sd_schedulers,
)
from modules.sd_samplers_cfg_denoiser import CFGDenoiser
from modules.shared import opts

_KARRAS, _EXPONENTIAL = {"scheduler": "karras"}, {"scheduler": "exponential"}
_SECOND, _ENSD, _BROWNIAN = {"second_order": True}, {"uses_ensd": True}, {"brownian_noise": True}
_DISCARD = {"discard_next_to_last_sigma": True}

samplers_k_diffusion: list[tuple[str, Any, list[str], dict[str, Any]]] = [
    ("DPM++ 2M", "sample_dpmpp_2m", ["k_dpmpp_2m"], {**_KARRAS}),
    ("DPM++ SDE", "sample_dpmpp_sde", ["k_dpmpp_sde"], {**_KARRAS, **_SECOND, **_BROWNIAN}),
    ("DPM++ 2M SDE", "sample_dpmpp_2m_sde", ["k_dpmpp_2m_sde"], {**_EXPONENTIAL, **_BROWNIAN}),
    (
        "DPM++ 2M SDE Heun",
        "sample_dpmpp_2m_sde",
        ["k_dpmpp_2m_sde_heun"],
        {**_EXPONENTIAL, **_BROWNIAN, "solver_type": "heun"},
    ),
    ("DPM++ 2S a", "sample_dpmpp_2s_ancestral", ["k_dpmpp_2s_a"], {**_KARRAS, **_ENSD, **_SECOND}),
    ("DPM++ 3M SDE", "sample_dpmpp_3m_sde", ["k_dpmpp_3m_sde"], {**_EXPONENTIAL, **_DISCARD, **_BROWNIAN}),
    ("Euler a", "sample_euler_ancestral", ["k_euler_a", "k_euler_ancestral"], {**_ENSD}),
    ("Euler", "sample_euler", ["k_euler"], {}),
    ("LMS", "sample_lms", ["k_lms"], {}),
    ("Heun", "sample_heun", ["k_heun"], {**_SECOND}),
    ("DPM2", "sample_dpm_2", ["k_dpm_2"], {**_KARRAS, **_DISCARD, **_SECOND}),
    ("DPM2 a", "sample_dpm_2_ancestral", ["k_dpm_2_a"], {**_KARRAS, **_DISCARD, **_ENSD, **_SECOND}),
    ("DPM fast", "sample_dpm_fast", ["k_dpm_fast"], {**_ENSD}),
    ("DPM adaptive", "sample_dpm_adaptive", ["k_dpm_ad"], {**_ENSD}),
    ("Restart", sd_samplers_extra.restart_sampler, ["restart"], {**_KARRAS, **_SECOND}),
    *flavour_samplers.further_k_samplers,
]


def offered_samplers(
    sampler_class: type[KDiffusionSampler], table: list[tuple[str, Any, list[str], dict[str, Any]]]
) -> list[sd_samplers_common.SamplerData]:
    """What the host lists, for rows of (label, k-diffusion function or its name, aliases, options)."""

    def constructor(function: Any) -> Any:
        return lambda model: sampler_class(function, model)

    return [
        sd_samplers_common.SamplerData(label, constructor(function), aliases, options)
        for label, function, aliases, options in table
    ]


_CHURN = ["s_churn", "s_tmin", "s_tmax", "s_noise"]
sampler_extra_params = {
    "sample_euler": _CHURN,
    "sample_heun": _CHURN,
    "sample_dpm_2": _CHURN,
    "sample_dpm_fast": ["s_noise"],
    "sample_dpm_2_ancestral": ["s_noise"],
    "sample_dpmpp_2s_ancestral": ["s_noise"],
    "sample_dpmpp_sde": ["s_noise"],
    "sample_dpmpp_2m_sde": ["s_noise"],
    "sample_dpmpp_3m_sde": ["s_noise"],
}
k_diffusion_scheduler = {schedule.name: schedule.function for schedule in sd_schedulers.schedulers}


class CFGDenoiserKDiffusion(CFGDenoiser):
    @property
    def inner_model(self) -> Any:
        if self.model_wrap is None:
            self.model_wrap = sd_denoisers.k_denoiser()
        return self.model_wrap


class KDiffusionSampler(sd_samplers_common.Sampler):
    denoiser_class: type[CFGDenoiser] = CFGDenoiserKDiffusion

    def __init__(self, funcname: Any, sd_model: Any, options: dict[str, Any] | None = None) -> None:
        del sd_model
        super().__init__(funcname)
        self.extra_params = sampler_extra_params.get(funcname, []) if isinstance(funcname, str) else []
        self.options = options or {}
        self.func = getattr(k_diffusion.sampling, funcname) if isinstance(funcname, str) else funcname
        denoiser = self.denoiser_class(self)
        self.model_wrap_cfg, self.model_wrap = denoiser, denoiser.inner_model

    def _scheduler(self, p: Any) -> sd_schedulers.Scheduler | None:
        name = (p.hr_scheduler if p.is_hr_pass else p.scheduler) or "Automatic"
        if name == "Automatic":
            name = self.config.options.get("scheduler", None)
        return sd_schedulers.schedulers_map.get(name)

    def _scheduled(self, p: Any, scheduler: sd_schedulers.Scheduler, steps: int) -> torch.Tensor:
        """Sigmas of a named schedule, with the settings' bounds and rho; what differs from the defaults goes into the
        infotext.
        """
        assert scheduler.function is not None
        notes = p.extra_generation_params
        low, high = self.model_wrap.sigmas[0].item(), self.model_wrap.sigmas[-1].item()
        bounds = (0.1, 10) if opts.use_old_karras_scheduler_sigmas else (low, high)
        arguments: dict[str, Any] = {"sigma_min": bounds[0], "sigma_max": bounds[1]}
        if scheduler.label != "Automatic" and not p.is_hr_pass:
            notes["Schedule type"] = scheduler.label
        elif scheduler.label != notes.get("Schedule type"):
            notes["Hires schedule type"] = scheduler.label
        if opts.sigma_min not in (0, low):
            arguments["sigma_min"] = notes["Schedule min sigma"] = opts.sigma_min
        if opts.sigma_max not in (0, high):
            arguments["sigma_max"] = notes["Schedule max sigma"] = opts.sigma_max
        if scheduler.default_rho != -1 and opts.rho not in (0, scheduler.default_rho):
            arguments["rho"] = notes["Schedule rho"] = opts.rho
        if scheduler.need_inner_model:
            arguments["inner_model"] = self.model_wrap
        if scheduler.label == "Beta":
            notes["Beta schedule alpha"], notes["Beta schedule beta"] = opts.beta_dist_alpha, opts.beta_dist_beta
        return scheduler.function(n=steps, **arguments, device=devices.cpu)

    def get_sigmas(self, p: Any, steps: int) -> torch.Tensor:
        """Sigmas [steps + 1] for this request; `p.sampler_noise_scheduler_override(steps)` replaces every named
        schedule.
        """
        discard = self._discards_second_last(p.extra_generation_params)
        sigmas = self._all_sigmas(p, steps + 1 if discard else steps)
        kept = torch.cat([sigmas[:-2], sigmas[-1:]]) if discard else sigmas
        return kept.cpu()

    def _all_sigmas(self, p: Any, n: int) -> torch.Tensor:
        scheduler = self._scheduler(p)
        if p.sampler_noise_scheduler_override:
            return p.sampler_noise_scheduler_override(n)
        if scheduler is not None and scheduler.function is not None:
            return self._scheduled(p, scheduler, n)
        return self.model_wrap.get_sigmas(n)

    def _further_arguments(self, p: Any, x: torch.Tensor, sigmas: torch.Tensor) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if self.config.options.get("brownian_noise", False):
            found["noise_sampler"] = self.create_noise_sampler(x, sigmas, p)
        if self.config.options.get("solver_type", None) == "heun":
            found["solver_type"] = "heun"
        return found

    def _start_level(self, sigma: torch.Tensor, notes: dict[str, Any]) -> torch.Tensor:
        """Standard deviation of the latent that sampling starts from."""
        if not opts.sgm_noise_multiplier:
            return sigma
        notes["SGM noise multiplier"] = True
        return torch.sqrt(1.0 + sigma**2.0)

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
        total, run = sd_samplers_common.setup_img2img_steps(p, steps)
        sigmas = self.get_sigmas(p, total)
        rest = sigmas[total - run - 1 :]
        start = self._with_extra_noise(p, noise, x, x + noise * rest[0])
        arguments = self.initialize(p)
        known = inspect.signature(self.func).parameters
        offered = {"sigma_max": rest[0], "n": len(rest) - 1, "sigma_sched": rest, "sigmas": rest}
        if "sigma_min" in known:  # DPM fast and adaptive cannot go to sigma 0, so they are given the last one before it
            offered["sigma_min"] = rest[-2]
        arguments.update({name: value for name, value in offered.items() if name in known})
        arguments.update(self._further_arguments(p, x, sigmas))
        self.model_wrap_cfg.init_latent = x
        self.last_latent = x
        self.sampler_extra_args = self._extra_args(p, conditioning, unconditional_conditioning, image_conditioning)
        return self._run(p, run + 1, start, arguments)

    def sample(
        self,
        p: Any,
        x: torch.Tensor,
        conditioning: Any,
        unconditional_conditioning: Any,
        steps: int | None = None,
        image_conditioning: Any = None,
    ) -> Any:
        steps = steps or p.steps
        sigmas = self.get_sigmas(p, steps)
        x = x * self._start_level(sigmas[0], p.extra_generation_params)
        arguments = self.initialize(p)
        known = inspect.signature(self.func).parameters
        if "n" in known:
            arguments["n"] = steps
        if "sigma_min" in known:
            arguments["sigma_min"] = self.model_wrap.sigmas[0].item()
            arguments["sigma_max"] = self.model_wrap.sigmas[-1].item()
        if "sigmas" in known:
            arguments["sigmas"] = sigmas
        arguments.update(self._further_arguments(p, x, sigmas))
        self.last_latent = x
        self.sampler_extra_args = self._extra_args(p, conditioning, unconditional_conditioning, image_conditioning)
        return self._run(p, steps, x, arguments)


samplers_data_k_diffusion = offered_samplers(KDiffusionSampler, samplers_k_diffusion)
k_diffusion_samplers_map = {sampler.name: sampler for sampler in samplers_data_k_diffusion}

__all__ = [
    "CFGDenoiser",
    "CFGDenoiserKDiffusion",
    "KDiffusionSampler",
    "k_diffusion_samplers_map",
    "sd_samplers_cfg_denoiser",
]
