"""What the user should know of a pass as it is planned: steps that one of the models does not get, and why. Pure."""

from __future__ import annotations

from extension_core.options.hybrid import Options
from extension_core.sampling.pass_levels import drop_repeats, nominal_boundary, run_levels
from extension_core.sampling.plan import PassPlan, PassRequest
from extension_core.sampling.routing import ALL_BASE, ALL_DISTILLED, Boundary, Split
from extension_core.sampling.schedule import NoiseSchedule


def note_on(request: PassRequest, options: Options, nominal: Boundary, split: Split, schedule: NoiseSchedule) -> str:
    """All sentences on one pass, "" if there is nothing to say."""
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
