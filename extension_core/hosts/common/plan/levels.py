"""The levels of the host's own schedules: its own functions, asked by stand-ins for its sampler and the request.

No sampler is made: making one is what other extensions put something of their own into (`sd_samplers.create_sampler`),
and the host's functions write to the request's infotext (sd_samplers_kdiffusion.py, 1.10.1).
"""

from __future__ import annotations

from typing import Any

import torch
from modules import sd_samplers, sd_samplers_kdiffusion, sd_samplers_lcm, sd_samplers_timesteps, shared
from modules.models.diffusion.uni_pc import uni_pc

from extension_core.errors import DiversityError
from extension_core.hosts.noise import Kind, Noise
from extension_core.sampling.schedule import Levels, Unit

_TIMESTEPS = 1000  # of every noise schedule of SD 1.x, 2.x and SDXL


def sampler_data(name: str) -> Any:
    """The host's entry for a sampler.

    Raises:
        DiversityError: the host has no such sampler.
    """
    found = sd_samplers.all_samplers_map.get(name)
    if found is None:
        known = ", ".join(sampler.name for sampler in sd_samplers.all_samplers)
        raise DiversityError(f"The sampler '{name}' is not one of the host's; it has {known}.")
    return found


def sampler_unit(name: str) -> Unit:
    """Unit in which a sampler of the host passes noise levels (DDIM, PLMS and UniPC pass timesteps).

    Raises:
        DiversityError: the host has no such sampler.
    """
    sampler_data(name)
    return "timestep" if _is_among(name, sd_samplers_timesteps.samplers_data_timesteps) else "sigma"


def is_hosts_own(name: str) -> bool:
    """Whether a sampler comes with the host."""
    lists = (
        sd_samplers_kdiffusion.samplers_data_k_diffusion,
        sd_samplers_timesteps.samplers_data_timesteps,
        sd_samplers_lcm.samplers_data_lcm,
    )
    return any(_is_among(name, samplers) for samplers in lists)


def _is_among(name: str, samplers: Any) -> bool:
    return any(sampler.name == name for sampler in samplers)


def inner_kind(name: str) -> Kind:
    """Which inner model a sampler over sigmas has."""
    return "lcm" if _is_among(name, sd_samplers_lcm.samplers_data_lcm) else "other"


class Reading:
    """A request as the host's functions read it; what they write stays here.

    Args:
        instead: fields that are to have another value.
    """

    extra_generation_params: dict[str, Any]

    def __init__(self, p: Any, **instead: Any) -> None:
        notes = dict(getattr(p, "extra_generation_params", {}))
        vars(self).update({"_p": p, "extra_generation_params": notes, **instead})

    def __getattr__(self, name: str) -> Any:
        return getattr(vars(self)["_p"], name)


def host_levels(noise: Noise, p: Reading, name: str, steps: int) -> Levels:
    """Levels the host itself would use, descending.

    Raises:
        DiversityError: a sampler over timesteps is asked for more steps than there are timesteps, at which the host
            fails; img2img and hires passes ask for the steps divided by the denoising strength.
    """
    config = sampler_data(name)
    if sampler_unit(name) == "timestep":
        try:
            timesteps = _asked(sd_samplers_timesteps.CompVisSampler, config).get_timesteps(p, steps)
        except (ValueError, RuntimeError) as error:
            if steps < _TIMESTEPS:
                raise
            raise DiversityError(
                f"{name} makes at most {_TIMESTEPS} steps, and this pass asks it for {steps}, which are its steps "
                "divided by its denoising strength where it has one; choose fewer steps or another sampler."
            ) from error
        return tuple(float(t) for t in reversed(timesteps.tolist()))
    sampler = _asked(sd_samplers_kdiffusion.KDiffusionSampler, config, noise.wrap_for(p, inner_kind(name)))
    return tuple(float(sigma) for sigma in sampler.get_sigmas(p, steps).tolist())


def _asked(kind: type, config: Any, model_wrap: Any = None) -> Any:
    """An object with the methods of a sampler that nothing has made one of: it has what `get_sigmas` reads, no more."""
    asked = object.__new__(kind)
    vars(asked).update(config=config, model_wrap=model_wrap)
    return asked


def unipc_levels(noise: Noise, steps: int, start: float | None) -> Levels:
    """Timesteps of the host's UniPC, which makes its own from the count of steps alone, from `start` or the top."""
    levels = uni_pc.NoiseScheduleVP("discrete", alphas_cumprod=noise.alphas_cumprod)
    solver = uni_pc.UniPC(None, levels, predict_x0=True, thresholding=False, variant=shared.opts.uni_pc_variant)
    first = levels.T if start is None else (start + 1.0) / levels.total_N
    lowest = 1.0 / levels.total_N
    times = solver.get_time_steps(shared.opts.uni_pc_skip_type, first, lowest, steps, torch.device("cpu"))
    return tuple(float(t) for t in ((times - lowest) * 1000.0).tolist())
