"""What the host is about to do: the passes of a request and their noise levels, before any step is spent."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from modules import sd_samplers, sd_samplers_common, shared
from modules.models.diffusion.uni_pc import uni_pc

from extension_core.errors import DiversityError
from extension_core.options import Options
from extension_core.sampling.plan import PassRequest, check_switch_step, skip_first_levels
from extension_core.sampling.schedule import Levels, NoiseSchedule, Unit, family_levels


def sampler_unit(name: str) -> Unit:
    """Unit in which a sampler of the host passes noise levels (DDIM, PLMS and UniPC pass timesteps).

    Raises:
        DiversityError: the host has no such sampler.
    """
    return "timestep" if hasattr(_create(name), "get_timesteps") else "sigma"


def _create(name: str) -> Any:
    if sd_samplers.find_sampler_config(name) is None:
        known = ", ".join(sampler.name for sampler in sd_samplers.all_samplers)
        raise DiversityError(f"The sampler '{name}' is not one of the host's; it has {known}.")
    return sd_samplers.create_sampler(name, shared.sd_model)


class Passes:
    """The passes of one request, and the schedules the host asks for while they run.

    Args:
        p: the host's processing object, its sampler and steps already those of the family.
        grid: the family's timestep grid, or "host".
    """

    def __init__(self, p: Any, options: Options, grid: str, schedule: NoiseSchedule) -> None:
        self.p, self.options, self.grid, self.schedule = p, options, grid, schedule
        self._override = p.sampler_noise_scheduler_override

    @property
    def own_levels(self) -> bool:
        """Whether the host is to be given levels instead of making them itself."""
        return self.grid != "host" or (self.options.mode == "skip_first" and self.options.switch_step > 0)

    def read(self) -> list[PassRequest]:
        """The passes in order.

        Raises:
            DiversityError: the switch step does not fit, or a sampler is unknown.
        """
        if not hasattr(self.p, "enable_hr"):
            return [self._tail("img2img", self.p.sampler_name, None)]
        passes = [] if self.p.enable_hr and self.p.firstpass_image is not None else [self._first()]
        return [*passes, self._hires()] if self.p.enable_hr else passes

    def for_host(self, sampler: str, steps: int) -> Levels:
        """Levels of a schedule of `steps` steps as the host is to see it: with what skip first leaves out left out."""
        levels = self._levels(sampler, steps)
        if self.options.mode != "skip_first" or self.options.switch_step == 0:
            return levels
        whole = self._levels(sampler, self._requested_steps())
        return skip_first_levels(levels, whole[min(self.options.switch_step, len(whole) - 2)])

    def _requested_steps(self) -> int:
        if self.p.is_hr_pass:
            return self.p.hr_second_pass_steps or self.p.steps
        return self.p.steps

    def _first(self) -> PassRequest:
        name, steps = self.p.sampler_name, self.p.steps
        check_switch_step(self.options, steps)
        return self._request("first pass", name, self.for_host(name, steps))

    def _hires(self) -> PassRequest:
        with as_hires_pass(self.p):
            return self._tail("hires pass", self.p.hr_sampler_name or self.p.sampler_name, self._requested_steps())

    def _tail(self, pass_name: str, sampler: str, requested: int | None) -> PassRequest:
        """A pass that starts from an image: the host cuts the tail off a longer schedule."""
        check_switch_step(self.options, self._requested_steps())
        steps, t_enc = sd_samplers_common.setup_img2img_steps(self.p, requested)
        if steps < 1:
            return self._request(pass_name, sampler, self._levels(sampler, 1)[-2:])
        if sampler == "UniPC":
            start = float(_create(sampler).get_timesteps(self.p, steps)[max(t_enc - 1, 0)])
            return self._request(pass_name, sampler, unipc_levels(max(t_enc, 1), start))
        levels = self.for_host(sampler, steps)
        return self._request(pass_name, sampler, _tail_levels(levels, sampler_unit(sampler), steps, t_enc, self.grid))

    def _request(self, pass_name: str, sampler: str, run: Levels) -> PassRequest:
        base = sampler if self.options.base_sampler == "same" else self.options.base_sampler
        whole = self._levels(sampler, self._requested_steps())
        return PassRequest(pass_name, sampler, sampler_unit(sampler), whole, run, sampler_unit(base))

    def _levels(self, sampler: str, steps: int) -> Levels:
        """Levels of a schedule: the family's, or the host's own for this sampler and schedule type."""
        if sampler == "UniPC":
            return unipc_levels(len(_create(sampler).get_timesteps(self.p, steps)), None)
        if self.grid != "host":
            return family_levels(self.grid, steps, self.schedule, sampler_unit(sampler))
        with _override_of(self.p, self._override):
            return host_levels(_create(sampler), self.p, steps)


@contextmanager
def _override_of(p: Any, override: Any) -> Iterator[None]:
    before, p.sampler_noise_scheduler_override = p.sampler_noise_scheduler_override, override
    try:
        yield
    finally:
        p.sampler_noise_scheduler_override = before


def host_levels(sampler: Any, p: Any, steps: int) -> Levels:
    """Levels the host itself would use, descending."""
    if hasattr(sampler, "get_timesteps"):
        return tuple(float(t) for t in reversed(sampler.get_timesteps(p, steps).tolist()))
    return tuple(float(sigma) for sigma in sampler.get_sigmas(p, steps).tolist())


def _tail_levels(levels: Levels, unit: Unit, steps: int, t_enc: int, grid: str) -> Levels:
    """The part of a schedule that the host runs in img2img (`sample_img2img` of its samplers, 1.10.1)."""
    if unit == "sigma":
        return levels[steps - t_enc - 1 :]
    if grid != "host":  # one level more than the host's own list, because it ends at 0
        return levels[-(t_enc + 2) :]
    return levels[-t_enc:] if t_enc else levels[-1:]


def unipc_levels(steps: int, start: float | None) -> Levels:
    """Timesteps of the host's UniPC, which makes its own from the count of steps alone, from `start` or the top."""
    alphas = shared.sd_model.alphas_cumprod
    noise = uni_pc.NoiseScheduleVP("discrete", alphas_cumprod=alphas)
    solver = uni_pc.UniPC(None, noise, predict_x0=True, thresholding=False, variant=shared.opts.uni_pc_variant)
    first = noise.T if start is None else (start + 1.0) / noise.total_N
    times = solver.get_time_steps(shared.opts.uni_pc_skip_type, first, 1.0 / noise.total_N, steps, torch.device("cpu"))
    return tuple(float(t) for t in ((times - 1.0 / noise.total_N) * 1000.0).tolist())


@contextmanager
def as_hires_pass(p: Any) -> Iterator[None]:
    """The host reads the hires scheduler where `p.is_hr_pass` says so; it settles an unset one in `p.init`, later."""
    before = p.is_hr_pass, p.hr_scheduler
    p.is_hr_pass, p.hr_scheduler = True, p.hr_scheduler or p.scheduler
    try:
        yield
    finally:
        p.is_hr_pass, p.hr_scheduler = before
