"""The sampler and schedule type that the host makes of a request's names, by its own code."""

from __future__ import annotations

from types import SimpleNamespace

from modules import sd_samplers, sd_schedulers


def settle_names(request: SimpleNamespace) -> tuple[str, ...]:
    """Write the host's own names into a request, as it does before it generates.

    Its API takes a schedule type that follows the sampler's name ("DPM++ 2M Karras"), unless there is one beside it
    (modules/api/api.py, 1.10.1). For a name that it does not know, the host takes its first sampler, and Automatic.

    Returns:
        What the user should know: names in whose place the host takes others.
    """
    asked, schedule = request.sampler_name or getattr(request, "sampler_index", ""), request.scheduler
    sampler, named = sd_samplers.get_sampler_and_scheduler(asked, schedule)
    request.sampler_name, request.scheduler = sd_samplers.get_sampler_and_scheduler(
        sampler, schedule or named, convert_automatic=False
    )
    notes = []
    if asked and not asked.startswith(request.sampler_name):
        notes.append(_unknown("sampler", asked, request.sampler_name))
    if schedule and schedule not in sd_schedulers.schedulers_map:
        notes.append(_unknown("schedule type", schedule, "Automatic"))
    hires = request.hr_scheduler
    if hires and hires not in sd_schedulers.schedulers_map:
        request.hr_scheduler = "Automatic"
        notes.append(_unknown("schedule type", hires, "Automatic"))
    return tuple(notes)


def _unknown(what: str, asked: str, taken: str) -> str:
    return f"The {what} '{asked:.80}' is not one of the host's, which takes {taken} in its place."
