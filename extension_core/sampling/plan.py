"""The plan of one request: computed before any step is spent, shown, logged and written to the infotext."""

from __future__ import annotations

from dataclasses import dataclass, replace

from extension_core.errors import DiversityError
from extension_core.options.hybrid import Options
from extension_core.sampling.calls import NO_CHURN, Stochastic, expected_calls
from extension_core.sampling.routing import ALL_BASE, ALL_DISTILLED, Boundary, Phase, Split, boundary_of, split_levels
from extension_core.sampling.schedule import Levels, NoiseSchedule, Unit, finer

# These walk from sigma_max to sigma_min on a grid of their own, so the phases are two runs of the sampler.
OWN_GRID_SAMPLERS = ("DPM fast", "DPM adaptive")


@dataclass(frozen=True)
class PassRequest:
    """What the host is about to do in one pass.

    Attributes:
        name: "first pass", "hires pass" or "img2img".
        sampler: sampler of the pass, by the host's name.
        unit: unit of `whole` and `run`.
        whole: levels of the full schedule, descending; the switch step counts on it.
        run: levels the host passes to the sampler: `whole`, or its tail in img2img and hires; () for no step at all.
        base_unit: unit of the base's sampler.
        own_grid: whether the levels are a family's; one that its grid has once is run once, however often it is passed.
        how: the noise that samplers add on their way.
    """

    name: str
    sampler: str
    unit: Unit
    whole: Levels
    run: Levels
    base_unit: Unit
    own_grid: bool = False
    how: Stochastic = NO_CHURN


@dataclass(frozen=True)
class Run:
    """One run of one sampler.

    Attributes:
        levels: descending, in the unit of the sampler.
        boundary: where the models change, in that unit.
    """

    sampler: str
    unit: Unit
    levels: Levels
    boundary: Boundary


@dataclass(frozen=True)
class PassPlan:
    """One pass, decided.

    Attributes:
        whole: levels of the full schedule, on which the switch step counts.
        run: levels as the host passes them to the sampler; () for no step at all.
        levels: those that the pass goes through, before the base's steps are made finer.
        split: levels of each phase as they are run, finer base steps included.
        base_levels: the base's in the unit of its sampler.
        how: the noise that samplers add on their way.
        calls: model calls expected of each phase, None where the sampler chooses.
        note: what the user should know about this pass, "" if nothing.
    """

    name: str
    sampler: str
    base_sampler: str
    unit: Unit
    whole: Levels
    run: Levels
    levels: Levels
    split: Split
    base_unit: Unit
    base_levels: Levels
    how: Stochastic
    base_cfg: float
    distilled_cfg: float
    calls: dict[Phase, int] | None
    note: str = ""

    @property
    def in_two_runs(self) -> bool:
        """Whether base and distilled phase are two runs of (perhaps two) samplers instead of one."""
        if not (self.split.base and self.split.distilled):
            return False
        return self.base_sampler != self.sampler or self.sampler in OWN_GRID_SAMPLERS

    @property
    def runs(self) -> tuple[Run, ...]:
        """What samplers run over, in order; nothing where there is no step to make."""
        if not self.split.levels:
            return ()
        if not self.in_two_runs:
            return (Run(self.sampler, self.unit, self.split.levels, self.split.boundary),)
        boundary = self.split.boundary if self.base_sampler == self.sampler else Boundary(self.base_levels[-1])
        base = Run(self.base_sampler, self.base_unit, self.base_levels, boundary)
        return base, Run(self.sampler, self.unit, self.split.distilled, self.split.boundary)

    def describe(self, schedule: NoiseSchedule) -> str:
        """One readable line: "base 999 -> 759, distilled 759 -> 499 -> 259 -> 0, CFG 1/1, 4 U-Net calls"."""
        if not self.split.levels:
            return "no step, the image stays as it is, 0 U-Net calls"
        parts = [
            f"{phase} {_arrows(levels, schedule, self.unit)}"
            for phase, levels in (("base", self.split.base), ("distilled", self.split.distilled))
            if levels
        ]
        if self.split.base and self.base_sampler != self.sampler:
            parts.append(f"base by {self.base_sampler}")
        guidance = {"base": f"{self.base_cfg:g}", "distilled": f"{self.distilled_cfg:g}"}
        used = [
            guidance[phase]
            for phase, levels in zip(guidance, (self.split.base, self.split.distilled), strict=True)
            if levels
        ]
        parts.append("CFG " + "/".join(used))
        parts.append(
            f"{sum(self.calls.values())} U-Net calls" if self.calls else "as many U-Net calls as the sampler takes"
        )
        return ", ".join(parts)


@dataclass(frozen=True)
class Plan:
    """All passes of a request."""

    passes: tuple[PassPlan, ...]
    schedule: NoiseSchedule

    @property
    def notes(self) -> tuple[str, ...]:
        """Everything the user should know, without repeats."""
        return tuple(dict.fromkeys(p.note for p in self.passes if p.note))

    @property
    def takes_turns(self) -> bool:
        """Whether both models run in any pass."""
        return any(part.split.base and part.split.distilled for part in self.passes)

    def describe(self) -> str:
        """One readable line for panel, log and infotext."""
        lines = [p.describe(self.schedule) for p in self.passes]
        if len(lines) == 1:
            return lines[0]
        return "; ".join(f"{p.name}: {line}" for p, line in zip(self.passes, lines, strict=True))


def _arrows(levels: Levels, schedule: NoiseSchedule, unit: Unit) -> str:
    shown = [f"{schedule.to_timestep(level, unit):.0f}" for level in levels]
    if len(shown) > 9:
        shown = [*shown[:3], "...", *shown[-3:]]
    return " -> ".join(shown)


def base_takes_part(options: Options, pass_name: str) -> bool:
    """Whether the base runs in this pass; img2img counts as a first pass."""
    target = {"first": ("first pass", "img2img"), "hires": ("hires pass",)}
    return options.passes == "both" or pass_name in target[options.passes]


def check_switch_step(options: Options, pass_name: str, steps: int) -> None:
    """Refuse a switch step beyond the run of a pass; one that the distilled model makes alone may be shorter.

    Raises:
        DiversityError: k is larger than the number of steps.
    """
    if options.mode == "hybrid" and not base_takes_part(options, pass_name):
        return
    if options.mode in ("hybrid", "skip_first") and options.switch_step > steps:
        raise DiversityError(
            f"switch_step of Diversity Distillation is {options.switch_step} but this run has {steps} steps; "
            f"choose a switch step from 0 to {steps}."
        )
    if options.mode == "skip_first" and options.switch_step >= steps:
        raise DiversityError(
            f"Skip first with switch_step {options.switch_step} would skip all {steps} steps; "
            f"choose a switch step from 0 to {steps - 1}."
        )


def nominal_boundary(options: Options, pass_name: str, whole: Levels) -> Boundary:
    """Where the models change on the whole schedule, by mode, pass and switch step."""
    if options.mode == "base":
        return ALL_BASE
    if options.mode != "hybrid" or not base_takes_part(options, pass_name):
        return ALL_DISTILLED
    return boundary_of(whole, options.switch_step)


def skip_first_levels(levels: Levels, start: float) -> Levels:
    """A schedule without its levels above `start`: they become `start`, so its length (and the host's slices) hold."""
    return tuple(min(level, start) for level in levels)


def drop_repeats(levels: Levels) -> Levels:
    """Leading repeats removed; the counterpart of `skip_first_levels` when the run begins."""
    first = next((i for i in range(len(levels) - 1) if levels[i + 1] != levels[i]), max(len(levels) - 1, 0))
    return levels[first:]


def run_levels(request: PassRequest) -> Levels:
    """The levels that a pass goes through, () for no step; a family's grid is left no level twice."""
    levels = tuple(dict.fromkeys(request.run)) if request.own_grid else drop_repeats(request.run)
    return levels if len(levels) > 1 else ()


def plan_split(request: PassRequest, nominal: Boundary, options: Options, schedule: NoiseSchedule) -> Split:
    """Levels of each phase: cut at the boundary, base steps refined if N differs from k."""
    levels = run_levels(request)
    split = split_levels(levels, nominal) if levels else Split((), ())
    if not (split.base and split.distilled):
        return split
    if request.unit == "sigma" and request.base_unit == "timestep":
        split = _on_whole_timestep(split, schedule)
    if options.base_steps in (None, options.switch_step):
        return split
    return Split(_finer(split.base, options.base_steps, request, schedule), split.distilled)


def _finer(levels: Levels, steps: int, request: PassRequest, schedule: NoiseSchedule) -> Levels:
    whole_timesteps = "timestep" in (request.unit, request.base_unit)
    return finer(levels, steps, schedule, request.unit, whole_timesteps)


def _on_whole_timestep(split: Split, schedule: NoiseSchedule) -> Split:
    """DDIM and PLMS know whole timesteps only, so the level that both phases share must be one."""
    shared = schedule.sigma(round(schedule.timestep(split.base[-1])))
    return Split((*split.base[:-1], shared), (shared, *split.distilled[1:]))


def plan_pass(request: PassRequest, options: Options, schedule: NoiseSchedule) -> PassPlan:
    """Decide one pass; pure.

    Raises:
        DiversityError: the samplers cannot be combined.
    """
    nominal = nominal_boundary(options, request.name, request.whole)
    split = plan_split(request, nominal, options, schedule)
    base_sampler = request.sampler if options.base_sampler == "same" else options.base_sampler
    if not (split.base and split.distilled):
        base_sampler = request.sampler
    _check_samplers(request, base_sampler, split, options)
    base_unit = request.unit if base_sampler == request.sampler else request.base_unit
    plan = PassPlan(
        name=request.name,
        sampler=request.sampler,
        base_sampler=base_sampler,
        unit=request.unit,
        whole=request.whole,
        run=request.run,
        levels=run_levels(request),
        split=split,
        base_unit=base_unit,
        base_levels=_in_unit(split.base, request.unit, base_unit, schedule),
        how=request.how,
        base_cfg=options.base_cfg,
        distilled_cfg=options.distilled_cfg,
        calls=None,
        note=_note(request, options, nominal, split, schedule),
    )
    return replace(plan, calls=_calls(plan))


def _in_unit(levels: Levels, unit: Unit, target: Unit, schedule: NoiseSchedule) -> Levels:
    """Levels in the unit of another sampler."""
    if unit == target:
        return levels
    if target == "sigma":
        return tuple(schedule.to_sigma(level, "timestep") for level in levels)
    return tuple(float(round(schedule.timestep(level))) for level in levels)


def _check_samplers(request: PassRequest, base_sampler: str, split: Split, options: Options) -> None:
    """UniPC makes its own levels, down to 0, from a count of steps (modules/sd_samplers_timesteps_impl.py, A1111)."""
    if base_sampler != "UniPC" or not (split.base and split.distilled):
        return
    if request.sampler != "UniPC":
        raise DiversityError(
            f"UniPC cannot stop at a given noise level, so it cannot make the base's steps before {request.sampler}; "
            "choose DDIM, Euler or DPM++ 2M as base sampler."
        )
    if options.base_steps not in (None, options.switch_step):
        raise DiversityError(
            f"UniPC makes its own noise levels, so base_steps cannot be {options.base_steps} where switch_step is "
            f"{options.switch_step}; leave base_steps empty or choose DDIM, Euler or DPM++ 2M."
        )


def _calls(plan: PassPlan) -> dict[Phase, int] | None:
    total = dict.fromkeys(Phase, 0)
    for run in plan.runs:
        counted = expected_calls(run.sampler, run.levels, run.boundary, plan.how)
        if counted is None:
            return None
        total = {phase: total[phase] + counted[phase] for phase in Phase}
    return total


def _note(request: PassRequest, options: Options, nominal: Boundary, split: Split, schedule: NoiseSchedule) -> str:
    if not split.levels:
        return f"The {request.name} has no step to make at this denoising strength, so the image stays as it is."
    notes = (
        _fewer(request, options),
        _no_base(request, options, nominal, split, schedule),
        _no_distilled(request, options, nominal),
    )
    return " ".join(filter(None, notes))


def _fewer(request: PassRequest, options: Options) -> str:
    """Where a family's grid has fewer levels than the host asks for steps."""
    passed = drop_repeats(request.run) if options.mode == "skip_first" else request.run
    asked, made = len(passed) - 1, len(run_levels(request)) - 1
    if asked == made or not request.own_grid:
        return ""
    return (
        f"The {request.name} makes {made} of {asked} steps: the model was trained at no more noise levels below its "
        "start."
    )


def no_distilled_note(part: PassPlan, options: Options) -> str:
    """A sentence where the distilled model makes none of a pass that it was to finish, "" otherwise."""
    if options.mode != "hybrid" or nominal_boundary(options, part.name, part.whole) != ALL_BASE or not part.split.base:
        return ""
    return _all_by_base(part.name, options.switch_step, len(part.whole) - 1)


def _no_distilled(request: PassRequest, options: Options, nominal: Boundary) -> str:
    if options.mode != "hybrid" or nominal != ALL_BASE:
        return ""
    return _all_by_base(request.name, options.switch_step, len(request.whole) - 1)


def _all_by_base(pass_name: str, switch_step: int, steps: int) -> str:
    return (
        f"The base makes the whole {pass_name}, for the switch step is {switch_step} of {steps} "
        f"step{'s' if steps > 1 else ''}, and the distilled model none of it, so the image is the base's alone and "
        "blurry at few steps; choose more steps or a lower switch step."
    )


def _no_base(request: PassRequest, options: Options, nominal: Boundary, split: Split, schedule: NoiseSchedule) -> str:
    if options.mode != "hybrid" or nominal == ALL_DISTILLED or split.base:
        return ""
    start, switch = (schedule.to_timestep(level, request.unit) for level in (request.run[0], nominal.level))
    return (
        f"The {request.name} starts at timestep {start:.0f}, at or below the switch at "
        f"{switch:.0f}, so the base would never run and the distilled model makes all of it; raise the denoising "
        "strength or lower the switch step to use the base."
    )
