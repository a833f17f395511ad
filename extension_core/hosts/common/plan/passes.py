"""What the host is about to do: the passes of a request and their noise levels, before any step is spent.

Nothing of the host or of the request is changed: this runs beside other requests, and in any number of threads.
"""

from __future__ import annotations

import logging
import math
from typing import Any

from modules import sd_samplers_common, shared

from extension_core.errors import DiversityError, first_line
from extension_core.hosts.common.plan.levels import Reading, host_levels, sampler_unit, unipc_levels
from extension_core.hosts.noise import Noise
from extension_core.options.hybrid import Options
from extension_core.sampling.calls import Stochastic
from extension_core.sampling.pass_levels import check_switch_step, drop_repeats, skip_first_levels
from extension_core.sampling.plan import PassRequest, Plan
from extension_core.sampling.plan_pass import plan_pass
from extension_core.sampling.schedule import Grid, Levels, NoiseSchedule, Unit, family_levels

_LOG = logging.getLogger("diversity_distillation")
# Exact steps at a denoising strength near 0 are the tail of an endless schedule.
_LONGEST_SCHEDULE = 1_000_000


class Passes:
    """The passes of one request, and the schedules the host asks for while they run.

    Args:
        p: the host's processing object, its sampler and steps already those of the family.
        grid: the family's timestep grid, or "host".
        noise: the schedule in force when the request samples.
    """

    def __init__(self, p: Any, options: Options, grid: Grid, noise: Noise) -> None:
        self.p, self.options, self.noise = p, options, noise
        self.grid: Grid = grid
        self._override = p.sampler_noise_scheduler_override

    def of(self, p: Any) -> Passes:
        """The same passes of the request itself, once it has the settings that they were made for."""
        return Passes(p, self.options, self.grid, self.noise)

    def over(self, noise: Noise) -> Passes:
        """The same passes over another noise schedule."""
        changed = Passes(self.p, self.options, self.grid, noise)
        changed._override = self._override
        return changed

    @property
    def schedule(self) -> NoiseSchedule:
        """The noise schedule, for plans."""
        return self.noise.schedule

    @property
    def own_levels(self) -> bool:
        """Whether the host is to be given levels instead of making them itself."""
        return self.grid != "host" or (self.options.mode == "skip_first" and self.options.switch_step > 0)

    def plan(self) -> Plan:
        """All passes, decided.

        Raises:
            DiversityError: the settings do not fit, a sampler is unknown, or the host fails at them as it would when
                they run: its schedules divide by steps and look levels up, and not all mind what they are asked for.
        """
        try:
            return Plan(tuple(plan_pass(item, self.options, self.schedule) for item in self.read()), self.schedule)
        except DiversityError:
            raise
        except Exception as error:
            _LOG.warning("No plan: %s", first_line(error), exc_info=error)
            raise DiversityError(
                "The host fails at making noise levels of these settings (see log); choose another number of steps, "
                "sampler or schedule type."
            ) from error

    def read(self) -> list[PassRequest]:
        """The passes in order.

        Raises:
            DiversityError: the switch step does not fit, or a sampler is unknown.
        """
        if not hasattr(self.p, "enable_hr"):
            return [self._tail("img2img", self._view(False), self.p.sampler_name, None)]
        passes = [] if self.p.enable_hr and self.p.firstpass_image is not None else [self._first()]
        return [*passes, self._hires()] if self.p.enable_hr else passes

    def for_host(self, sampler: str, steps: int) -> Levels:
        """Levels of a schedule of `steps` steps as the host is to see it: with what skip first leaves out left out."""
        return self._for_host(self._view(self.p.is_hr_pass), sampler, steps)

    def _view(self, is_hr_pass: bool) -> Reading:
        """The request in one of its passes; the host settles an unset hires scheduler in `p.init`, later."""
        scheduler = getattr(self.p, "hr_scheduler", None) or self.p.scheduler
        own = self._override
        return Reading(self.p, is_hr_pass=is_hr_pass, hr_scheduler=scheduler, sampler_noise_scheduler_override=own)

    def _for_host(self, view: Reading, sampler: str, steps: int) -> Levels:
        levels = self._levels(view, sampler, steps)
        if self.options.mode != "skip_first" or self.options.switch_step == 0:
            return levels
        whole = self._levels(view, sampler, _requested_steps(view))
        return skip_first_levels(levels, whole[min(self.options.switch_step, len(whole) - 2)])

    def _first(self) -> PassRequest:
        view, name = self._view(False), self.p.sampler_name
        check_switch_step(self.options, "first pass", self.p.steps)
        run = self._for_host(view, name, self.p.steps)
        if name == "UniPC" and (left := drop_repeats(run)) != run:  # it makes the rest anew, from a whole timestep
            run = unipc_levels(self.noise, len(left) - 1, float(round(left[0])))
        return self._request("first pass", view, name, run)

    def _hires(self) -> PassRequest:
        view = self._view(True)
        return self._tail("hires pass", view, self.p.hr_sampler_name or self.p.sampler_name, _requested_steps(view))

    def _tail(self, pass_name: str, view: Reading, sampler: str, requested: int | None) -> PassRequest:
        """A pass that starts from an image: the host cuts the tail off a longer schedule."""
        check_switch_step(self.options, pass_name, _requested_steps(view))
        steps, t_enc = sd_samplers_common.setup_img2img_steps(view, requested)
        return self._request(pass_name, view, sampler, self._tail_of(view, sampler, steps, t_enc))

    def _tail_of(self, view: Reading, sampler: str, steps: int, t_enc: int) -> Levels:
        if steps < 1:
            return ()
        if steps > _LONGEST_SCHEDULE:
            raise DiversityError(
                f"At a denoising strength of {view.denoising_strength:g} the host would make a schedule of {steps} "
                f"steps, and {_LONGEST_SCHEDULE} are too many already; choose 0, or a strength of 0.01 and more."
            )
        if sampler == "UniPC":
            if t_enc < 1:
                return ()
            start = host_levels(self.noise, view, sampler, steps)[-t_enc]
            return unipc_levels(self.noise, t_enc, start)
        levels = self._for_host(view, sampler, steps)
        return _tail_levels(levels, sampler_unit(sampler), steps, t_enc, self.grid)

    def _request(self, pass_name: str, view: Reading, sampler: str, run: Levels) -> PassRequest:
        base = sampler if self.options.base_sampler == "same" else self.options.base_sampler
        return PassRequest(
            name=pass_name,
            sampler=sampler,
            unit=sampler_unit(sampler),
            whole=self._levels(view, sampler, _requested_steps(view)),
            run=run,
            base_unit=sampler_unit(base),
            own_grid=self.grid != "host",
            how=stochastic(view),
        )

    def _levels(self, view: Reading, sampler: str, steps: int) -> Levels:
        """Levels of a schedule: the family's, or the host's own for this sampler and schedule type."""
        if sampler == "UniPC":
            return unipc_levels(self.noise, len(host_levels(self.noise, view, sampler, steps)), None)
        if self.grid != "host":
            return family_levels(self.grid, steps, self.schedule, sampler_unit(sampler))
        return host_levels(self.noise, view, sampler, steps)


def _requested_steps(view: Reading) -> int:
    return (view.hr_second_pass_steps or view.steps) if view.is_hr_pass else view.steps


def stochastic(p: Any) -> Stochastic:
    """The noise that samplers add for this request (`Sampler.initialize`, modules/sd_samplers_common.py, 1.10.1).

    The settings win over the request's own fields wherever they are not k-diffusion's defaults.
    """
    opts, eta = shared.opts, getattr(p, "eta", None)
    return Stochastic(
        float(opts.eta_ancestral if eta is None else eta),
        float(opts.s_churn or getattr(p, "s_churn", None) or 0.0),
        float(opts.s_tmin or getattr(p, "s_tmin", None) or 0.0),
        float(opts.s_tmax or getattr(p, "s_tmax", None) or math.inf),
    )


def _tail_levels(levels: Levels, unit: Unit, steps: int, t_enc: int, grid: Grid) -> Levels:
    """The part of a schedule that the host runs in img2img (`sample_img2img` of its samplers, 1.10.1)."""
    if unit == "sigma":
        return levels[steps - t_enc - 1 :]
    if grid != "host":  # one level more than the host's own list, because it ends at 0
        return levels[-(t_enc + 2) :]
    return levels[-t_enc:] if t_enc else ()
