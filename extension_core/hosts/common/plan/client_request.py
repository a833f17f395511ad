"""A page's or a client's settings as a request: what the host would make of them, without its processing object."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from modules import sd_samplers, sd_schedulers, shared


def request_of(settings: Mapping[str, Any], is_img2img: bool) -> SimpleNamespace:
    """The fields of a processing object that a plan reads.

    Names are the host's own, as it settles them before it generates; `name_notes` says what it takes in whose place.
    """
    request = SimpleNamespace(
        denoising_strength=0.75,
        width=512,
        height=512,
        batch_size=1,
        n_iter=1,
        sd_model_checkpoint=shared.opts.sd_model_checkpoint,
        is_hr_pass=False,
        sampler_noise_scheduler_override=None,
        extra_generation_params={},
        all_prompts=[str(settings.get("prompt") or "")],
        all_negative_prompts=[str(settings.get("negative_prompt") or "")],
        **({} if is_img2img else {"enable_hr": False, "firstpass_image": None}),
    )
    request.hr_sampler_name = request.hr_scheduler = None
    request.hr_second_pass_steps = request.hr_resize_x = request.hr_resize_y = 0
    request.hr_scale = 1.0
    for name, value in settings.items():
        unset = name.startswith("hr_") and isinstance(value, str) and value.startswith("Use same")
        setattr(request, name, None if unset else value)
    request.name_notes = _settle_names(request)
    return request


def _settle_names(request: SimpleNamespace) -> tuple[str, ...]:
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
