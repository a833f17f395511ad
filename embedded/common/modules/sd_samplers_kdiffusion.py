"""Samplers of k-diffusion."""

from __future__ import annotations

from typing import Any

import torch
from k_diffusion import sampling
from torch import Tensor

from modules import devices, sd_denoisers, sd_samplers_common, sd_schedulers
from modules.sd_samplers_cfg_denoiser import CFGDenoiser
from modules.shared import opts

_CHURN = ["s_churn", "s_tmin", "s_tmax", "s_noise"]
sampler_extra_params = {f"sample_{name}": _CHURN for name in ("euler", "heun", "dpm_2")} | {
    f"sample_{name}": ["s_noise"]
    for name in ("dpm_fast", "dpm_2_ancestral", "dpmpp_2s_ancestral", "dpmpp_sde", "dpmpp_2m_sde", "dpmpp_3m_sde")
}


class CFGDenoiserKDiffusion(CFGDenoiser):
    @property
    def inner_model(self) -> Any:
        if self.model_wrap is None:
            self.model_wrap = sd_denoisers.k_denoiser()
        return self.model_wrap


class KDiffusionSampler(sd_samplers_common.Sampler):
    denoiser_class: type[CFGDenoiser] = CFGDenoiserKDiffusion

    def __init__(self, funcname: Any, sd_model: Any, options: dict[str, Any] | None = None) -> None:
        super().__init__(funcname)
        if isinstance(funcname, str):
            self.func, self.extra_params = getattr(sampling, funcname), sampler_extra_params.get(funcname, [])
        self.model_wrap_cfg = self.denoiser_class(self)
        self.model_wrap = self.model_wrap_cfg.inner_model

    def get_sigmas(self, p: Any, steps: int) -> Tensor:
        """Sigmas [steps + 1]; `p.sampler_noise_scheduler_override(steps)` replaces every named schedule."""
        discard = self._discards_second_last(p.extra_generation_params)
        count = steps + 1 if discard else steps
        if p.sampler_noise_scheduler_override:
            sigmas = p.sampler_noise_scheduler_override(count)
        else:
            label = (p.hr_scheduler if p.is_hr_pass else p.scheduler) or "Automatic"
            own = self.config.options.get("scheduler") if label == "Automatic" else label
            schedule = sd_schedulers.schedulers_map.get(own)
            named = schedule is not None and schedule.function is not None
            sigmas = self._scheduled(p, schedule, count) if named else self.model_wrap.get_sigmas(count)
        return (torch.cat([sigmas[:-2], sigmas[-1:]]) if discard else sigmas).cpu()

    def _scheduled(self, p: Any, schedule: Any, n: int) -> Tensor:
        """Sigmas of a named schedule, which goes into the infotext."""
        notes, trained = p.extra_generation_params, self.model_wrap.sigmas
        if not p.is_hr_pass:
            notes["Schedule type"] = schedule.label
        elif notes.get("Schedule type") != schedule.label:
            notes["Hires schedule type"] = schedule.label
        given: dict[str, Any] = {"sigma_min": trained[0].item(), "sigma_max": trained[-1].item()}
        if opts.use_old_karras_scheduler_sigmas:
            given = {"sigma_min": 0.1, "sigma_max": 10}
        if schedule.need_inner_model:
            given["inner_model"] = self.model_wrap
        return schedule.function(n=n, device=devices.cpu, **given)

    def _offered(self, p: Any, x: Tensor, sigmas: Tensor, whole: Tensor) -> dict[str, Any]:
        """Arguments of k-diffusion's functions over the sigmas that run, which are the end of the whole schedule."""
        options = self.config.options
        offered = {"sigmas": sigmas, "n": len(sigmas) - 1, "sigma_min": sigmas[-2:][0], "sigma_max": sigmas[0]}
        if options.get("brownian_noise"):
            offered["noise_sampler"] = self.create_noise_sampler(x, whole, p)
        return offered | {name: options[name] for name in ("solver_type",) if name in options}

    def _from_latents(self, p: Any, x: Tensor, noise: Tensor, total: int, run: int) -> Any:
        whole = self.get_sigmas(p, total)
        sigmas = whole[total - run - 1 :]
        return x + noise * sigmas[0], self._offered(p, x, sigmas, whole)

    def _from_noise(self, p: Any, x: Tensor, steps: int) -> sd_samplers_common.Start:
        sigmas, trained = self.get_sigmas(p, steps), self.model_wrap.sigmas
        level = sigmas[0]
        if opts.sgm_noise_multiplier:
            p.extra_generation_params["SGM noise multiplier"] = True
            level = torch.sqrt(1.0 + level**2.0)
        start = x * level
        offered = self._offered(p, start, sigmas, sigmas) | {"n": steps}
        return start, offered | {"sigma_min": trained[0].item(), "sigma_max": trained[-1].item()}


_KARRAS, _EXPONENTIAL = {"scheduler": "karras"}, {"scheduler": "exponential"}
_SECOND, _ENSD, _BROWNIAN = {"second_order": True}, {"uses_ensd": True}, {"brownian_noise": True}
_DISCARD = {"discard_next_to_last_sigma": True}
samplers_data_k_diffusion = sd_samplers_common.offered(
    KDiffusionSampler,
    {
        "DPM++ 2M": ("sample_dpmpp_2m", "k_dpmpp_2m", _KARRAS),
        "DPM++ SDE": ("sample_dpmpp_sde", "k_dpmpp_sde", {**_KARRAS, **_SECOND, **_BROWNIAN}),
        "DPM++ 2M SDE": ("sample_dpmpp_2m_sde", "k_dpmpp_2m_sde", {**_EXPONENTIAL, **_BROWNIAN}),
        "DPM++ 2M SDE Heun": (
            "sample_dpmpp_2m_sde",
            "k_dpmpp_2m_sde_heun",
            {**_EXPONENTIAL, **_BROWNIAN, "solver_type": "heun"},
        ),
        "DPM++ 2S a": ("sample_dpmpp_2s_ancestral", "k_dpmpp_2s_a", {**_KARRAS, **_ENSD, **_SECOND}),
        "DPM++ 3M SDE": ("sample_dpmpp_3m_sde", "k_dpmpp_3m_sde", {**_EXPONENTIAL, **_DISCARD, **_BROWNIAN}),
        "Euler a": ("sample_euler_ancestral", "k_euler_a", _ENSD),
        "Euler": ("sample_euler", "k_euler", {}),
        "LMS": ("sample_lms", "k_lms", {}),
        "Heun": ("sample_heun", "k_heun", _SECOND),
        "DPM2": ("sample_dpm_2", "k_dpm_2", {**_KARRAS, **_DISCARD, **_SECOND}),
        "DPM2 a": ("sample_dpm_2_ancestral", "k_dpm_2_a", {**_KARRAS, **_DISCARD, **_ENSD, **_SECOND}),
        "DPM fast": ("sample_dpm_fast", "k_dpm_fast", _ENSD),
        "DPM adaptive": ("sample_dpm_adaptive", "k_dpm_ad", _ENSD),
    },
)
