"""One pass on the host's sampler: the denoiser routed by noise level, and the two phases run in order.

Everything is set on the sampler object of this pass, never on a class of the host.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Mapping
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from modules import devices, sd_samplers_common, shared

from extension_core.hosts.common.plan.levels import inner_kind, is_hosts_own
from extension_core.hosts.common.plan.passes import Passes
from extension_core.hosts.common.processing.attributes import during, set_until_closed
from extension_core.hosts.common.request.base_sampler import BaseSampler
from extension_core.hosts.noise import same_levels
from extension_core.hosts.protocols import Host, Second
from extension_core.hosts.refusal import RequestRefused
from extension_core.sampling.plan import PassPlan, Run
from extension_core.sampling.ran import Call
from extension_core.sampling.routing import TOLERANCE, Phase
from extension_core.sampling.schedule import Levels, Unit, leaves_lcms_timesteps, starts_below_top
from extension_core.sampling.session import PassCalls, Session
from extension_core.weights.out_of_memory import MAY_BE, is_out_of_memory

Watch = Callable[[ExitStack, Any], Callable[[Any], None]]


@dataclass
class RunningPass:
    """One pass while it runs.

    Attributes:
        own_conds: (cond, uncond) by the second model's own text encoder, for the phases that it reads for.
        ran_out: called when memory has run out; whether a call is worth making again.
        watch: called with a second sampler that takes part; returns what is to be shown its steps.
        phase: of the call that is being made, or was last.
    """

    host: Host
    p: Any
    session: Session
    passes: Passes
    plan: PassPlan
    second: Second | None
    own_conds: Mapping[Phase, tuple[Any, Any]]
    ran_out: Callable[[], bool]
    watch: Watch | None = None
    phase: Phase | None = None
    _base: BaseSampler | None = None
    _calls: PassCalls = field(init=False)

    def attach(self, stack: ExitStack, sampler: Any) -> None:
        """Take the pass over; called when the host has made its sampler and is about to run it.

        Raises:
            RequestRefused: it is not the sampler that was planned for, or not as it was.
        """
        self._check_sampler(sampler)
        self._calls = self.session.calls.begin(self.plan)
        if self.plan.in_two_runs and self.plan.base_sampler != self.plan.sampler:
            self._base = BaseSampler(sampler, self.plan)
        routed = self._routed(sampler, Run(self.plan.sampler, self.plan.unit, (), self.plan.split.boundary))
        set_until_closed(stack, sampler.model_wrap_cfg, "forward", routed)
        if leaves_lcms_timesteps(self.passes.grid) and inner_kind(self.plan.sampler) == "lcm":
            # A1111's own would take 749 for 739 (modules/sd_samplers_lcm.py, 1.10.1).
            set_until_closed(stack, sampler.model_wrap, "sigma_to_t", self.passes.noise.nearest_timestep)
        if not self.plan.runs:
            set_until_closed(stack, sampler, "sample_img2img", self._without_steps(sampler))
        if self.passes.own_levels and hasattr(sampler, "get_timesteps") and self.plan.sampler != "UniPC":
            set_until_closed(stack, sampler, "get_timesteps", self._timesteps_for_host)
        set_until_closed(stack, sampler, "func", self._phases(sampler, sampler.func))
        if self.second is not None and self.plan.runs:
            for name in ("sample", "sample_img2img"):
                set_until_closed(stack, sampler, name, self._prepared(getattr(sampler, name), self.second))

    def _check_sampler(self, sampler: Any) -> None:
        planned, found = self.plan.sampler, getattr(sampler.config, "name", self.plan.sampler)
        unit = "timestep" if hasattr(sampler, "get_timesteps") else "sigma"
        if unit != self.plan.unit or (found != planned and is_hosts_own(found)):
            raise RequestRefused(
                f"The {self.plan.name} was planned for the sampler {planned} but another extension gave it to {found}; "
                "switch that extension off, or choose that sampler."
            )
        if unit == "timestep" or not is_hosts_own(planned):
            return
        sigmas, levels = sampler.model_wrap.sigmas, self.passes.noise.wrap_for(self.p, inner_kind(planned)).sigmas
        if not same_levels(sigmas, levels):
            raise RequestRefused(
                f"The {self.plan.name} was planned over noise levels up to sigma {float(levels.max()):.4g} but another "
                f"extension gave the sampler {planned} others, up to {float(sigmas.max()):.4g}; switch it off."
            )

    def _without_steps(self, sampler: Any) -> Callable[..., Any]:
        """The sampler's `sample_img2img` where there is no step to make, at which not all of the host's get through."""
        sample, brownian = sampler.sample_img2img, sampler.config.options.get("brownian_noise", False)
        goes_through = "sigmas" in inspect.signature(sampler.func).parameters and not brownian

        @functools.wraps(sample)
        def run(p: Any, x: Any, *args: Any, **kwargs: Any) -> Any:
            if sd_samplers_common.setup_img2img_steps(p, kwargs.get("steps"))[0] > 0:
                return sample(p, x, *args, **kwargs)
            if not goes_through:
                return x
            with during(p, sampler_noise_scheduler_override=lambda steps: torch.zeros(steps + 1)):
                return sample(p, x, *args, **kwargs)

        return run

    def _prepared(self, sample: Callable[..., Any], second: Second) -> Callable[..., Any]:
        """The sampler's own method, run when every other extension has had its say about the model."""

        @functools.wraps(sample)
        def run(*args: Any, **kwargs: Any) -> Any:
            with second.sampling(self.p, self.plan, self.session):
                return sample(*args, **kwargs)

        return run

    def _timesteps_for_host(self, _p: Any, steps: int) -> torch.Tensor:
        """Ascending, a family's without its 0: the host takes the level of the noise it adds from it (1.10.1)."""
        levels = self.passes.for_host(self.plan.sampler, steps)
        return _ascending(levels if self.passes.grid == "host" else levels[:-1])

    def _routed(self, sampler: Any, of: Run) -> Callable[..., Any]:
        """The denoiser's forward, run on the model of the noise level, with that model's CFG and conditioning."""
        denoiser = sampler.model_wrap_cfg
        forward = denoiser.forward
        refined = len(self.plan.split.levels) > len(self.plan.levels)

        def routed(x: Any, sigma: Any, uncond: Any, cond: Any, cond_scale: float, **rest: Any) -> Any:
            level = float(sigma.max())
            self.phase = phase = of.boundary.phase(level)
            cond, uncond = self.own_conds.get(phase, (cond, uncond))
            if refined:
                denoiser.step = self._unrefined_step(level)
            cfg = self.session.cfg(phase)

            def call() -> Any:
                active = self.second.phase(phase, denoiser) if self.second is not None else nullcontext()
                networks = self.host.unet_networks(denoiser, self.session.lora_factor(phase))
                with active, networks, self.host.guidance(self.p, denoiser, cond, cfg):
                    return forward(x, sigma, uncond=uncond, cond=cond, cond_scale=cfg, **rest)

            result = self._again_if_out_of_memory(call)
            # Now: the host ends an interrupted run where a call would begin.
            self._calls.made.append(Call(phase, level, of.unit))
            return result

        return routed

    def _again_if_out_of_memory(self, call: Callable[[], Any]) -> Any:
        """A call of the denoiser, made again if memory ran out in it and there is something to free."""
        while True:
            try:
                return call()
            except MAY_BE as error:
                if not is_out_of_memory(error):
                    raise
                ran_out = error.with_traceback(None)  # its frames hold the tensors of the call
            if not self.ran_out():
                raise ran_out

    def _unrefined_step(self, level: float) -> int:
        """Step that this level belongs to in the run without finer base steps: prompt editing keeps its place."""
        passed = sum(1 for start in self.plan.levels[1:-1] if level <= start * (1 + TOLERANCE))
        return passed * getattr(self.p, "step_multiplier", 1)

    def _phases(self, sampler: Any, func: Callable[..., Any]) -> Callable[..., Any]:
        """The sampler function over the plan's levels: one run if one sampler serves both phases, else two."""

        @functools.wraps(func)
        def run(model: Any, x: Any, **kwargs: Any) -> Any:
            self._calls.started, self._calls.ended_early = True, True
            result = self._run(sampler, func, model, x, kwargs)
            self._calls.ended_early = False
            return result

        return run

    def _run(self, sampler: Any, func: Callable[..., Any], model: Any, x: Any, kwargs: dict[str, Any]) -> Any:
        if not self.plan.runs:
            return x if "is_img2img" in kwargs else func(model, x, **kwargs)
        self._check_levels(kwargs)
        shared.state.sampling_steps = max(len(self.plan.split.levels) - 1, 1)
        if self.plan.in_two_runs:
            return self._run_twice(sampler, func, x, kwargs)
        if self.plan.split.levels != self.plan.run or self._host_list_differs(kwargs):
            kwargs = with_levels(kwargs, func, self.plan.split.levels)
        return func(model, self._started(x), **kwargs)

    def _check_levels(self, kwargs: dict[str, Any]) -> None:
        sigmas = kwargs.get("sigmas")
        if sigmas is None:
            return
        planned = torch.tensor(self.plan.run, dtype=sigmas.dtype)
        if sigmas.shape != planned.shape or not torch.allclose(sigmas.cpu(), planned, rtol=1e-4):
            raise RequestRefused(
                f"Diversity Distillation planned {len(planned) - 1} steps from sigma {planned[0]:.4g} but another "
                f"extension made it {len(sigmas) - 1} from {float(sigmas[0]):.4g}; switch that extension off."
            )

    def _host_list_differs(self, kwargs: dict[str, Any]) -> bool:
        return "timesteps" in kwargs and self.passes.own_levels

    def _started(self, x: torch.Tensor) -> torch.Tensor:
        """A run that starts below the top starts from unit noise in the model's own scale all the same.

        So does the paper where it skips the first step (Table 4), and so were one-step files trained.
        """
        below_top = self.session.options.mode == "skip_first" or starts_below_top(self.passes.grid)
        pure_noise = below_top and self.plan.name == "first pass"
        if not pure_noise or self.plan.unit == "timestep" or shared.opts.sgm_noise_multiplier:
            return x
        sigma = self.plan.run[0]
        return x * (math.sqrt(1.0 + sigma**2) / sigma)

    def _run_twice(self, sampler: Any, func: Callable[..., Any], x: torch.Tensor, kwargs: dict[str, Any]) -> Any:
        split, model = self.plan.split, sampler.model_wrap_cfg
        if self._base is None:
            x = func(model, x, **with_levels(kwargs, func, split.base))
        else:
            x = self._run_base(self._base, sampler, x, kwargs)
        done = len(split.base) - 1
        callback = kwargs["callback"]
        rest = {**kwargs, "callback": lambda state: callback({**state, "i": state["i"] + done})}
        return func(model, x, **with_levels(rest, func, split.distilled))

    def _run_base(self, chosen: BaseSampler, sampler: Any, x: torch.Tensor, kwargs: dict[str, Any]) -> torch.Tensor:
        """The base's steps on its own sampler, from and to the scale of the pass's sampler."""
        base, run = chosen.sampler, self.plan.runs[0]
        arguments = {**base.initialize(self.p), **_noise_arguments(base, x, run.levels, self.p)}
        arguments |= {name: kwargs[name] for name in ("extra_args", "callback", "disable") if name in kwargs}
        own, schedule = self.plan.unit, self.session.plan.schedule
        first, last = (schedule.to_sigma(self.plan.split.base[end], own) for end in (0, -1))
        with ExitStack() as stack:
            denoiser = sampler.model_wrap_cfg
            if chosen.shares_denoiser:
                stack.enter_context(chosen.in_denoiser(denoiser))
            else:
                denoiser = base.model_wrap_cfg
                self._take_part(stack, base, sampler, arguments)
                denoiser.forward = self._routed(base, run)
            x = base.func(denoiser, rescale(x, first, own, run.unit), **with_levels(arguments, base.func, run.levels))
        return rescale(x, last, run.unit, own)

    def _take_part(self, stack: ExitStack, base: Any, sampler: Any, arguments: dict[str, Any]) -> None:
        """A second denoiser goes on from where the pass's own is, and that goes on from where it ends."""
        _share_denoiser_state(sampler.model_wrap_cfg, base.model_wrap_cfg)
        base.sampler_extra_args = sampler.sampler_extra_args
        stack.callback(_hand_back, base, sampler)
        if self.watch is not None:
            arguments["callback"] = _both(self.watch(stack, base), arguments["callback"])


def with_levels(kwargs: dict[str, Any], func: Callable[..., Any], levels: Levels) -> dict[str, Any]:
    """A sampler function's arguments, with other levels to run over (descending, in the unit of the function)."""
    parameters = inspect.signature(func).parameters
    if "sigmas" in parameters:
        return {**kwargs, "sigmas": torch.tensor(levels, dtype=torch.float32)}
    if "is_img2img" in parameters:  # UniPC: as many steps as entries, from the last of them down to 0
        return {**kwargs, "timesteps": _ascending(levels[:-1]), "is_img2img": True}
    if "timesteps" in parameters:
        return {**kwargs, "timesteps": _ascending(levels)}
    lowest = levels[-1] if levels[-1] > 0 else kwargs["sigma_min"]
    changed = {**kwargs, "sigma_max": levels[0], "sigma_min": lowest}
    return {**changed, "n": len(levels) - 1} if "n" in parameters else changed


def rescale(x: torch.Tensor, sigma: float, unit: Unit, target: Unit) -> torch.Tensor:
    """A noisy latent [B, C, h, w] from one unit's scale to the other's: x_sigma = x_timestep * sqrt(1 + sigma^2)."""
    if unit == target:
        return x
    factor = math.sqrt(1.0 + sigma**2)
    return x * factor if target == "sigma" else x / factor


def _ascending(levels: Levels) -> torch.Tensor:
    return torch.tensor([round(level) for level in reversed(levels)], device=devices.device)


def _noise_arguments(sampler: Any, x: torch.Tensor, levels: Levels, p: Any) -> dict[str, Any]:
    """What the host's `sample` adds for samplers with options of their own (sd_samplers_kdiffusion.py, 1.10.1)."""
    arguments: dict[str, Any] = {}
    if sampler.config.options.get("brownian_noise", False):
        arguments["noise_sampler"] = sampler.create_noise_sampler(x, torch.tensor(levels), p)
    if sampler.config.options.get("solver_type") == "heun":
        arguments["solver_type"] = "heun"
    return arguments


def _both(first: Callable[[Any], None], second: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def both(state: Any) -> Any:
        first(state)
        return second(state)

    return both


def _hand_back(base: Any, sampler: Any) -> None:
    """Where the base's run has got to, for the pass's own sampler."""
    if base.last_latent is not None:
        sampler.last_latent = base.last_latent
    sampler.model_wrap_cfg.step = base.model_wrap_cfg.step


def _share_denoiser_state(source: Any, target: Any) -> None:
    """What the host's `sample_img2img` and `launch_sampling` have set on the pass's denoiser."""
    for name in ("init_latent", "steps", "total_steps"):
        setattr(target, name, getattr(source, name))
