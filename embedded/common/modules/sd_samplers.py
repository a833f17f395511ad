"""All samplers by name, and the repair of sampler and schedule names from infotexts."""

from __future__ import annotations

import functools
import logging
from typing import Any

from modules import flavour_samplers, sd_samplers_common, sd_schedulers, shared
from modules.sd_samplers_common import sample_to_image, samples_to_image_grid
from modules.sd_samplers_kdiffusion import KDiffusionSampler, offered_samplers, samplers_data_k_diffusion
from modules.sd_samplers_lcm import samplers_data_lcm
from modules.sd_samplers_timesteps import samplers_data_timesteps

all_samplers: list[sd_samplers_common.SamplerData] = [
    *samplers_data_k_diffusion,
    *samplers_data_timesteps,
    *samplers_data_lcm,
    *offered_samplers(KDiffusionSampler, flavour_samplers.last_samplers),
]
all_samplers_map = {sampler.name: sampler for sampler in all_samplers}
samplers = all_samplers
samplers_for_img2img = all_samplers
samplers_map: dict[str, str] = {}
samplers_hidden: set[str] = set()
_SAME_SAMPLER, _SAME_SCHEDULER = "Use same sampler", "Use same scheduler"


def find_sampler_config(name: str | None) -> sd_samplers_common.SamplerData | None:
    return all_samplers[0] if name is None else all_samplers_map.get(name)


def create_sampler(name: str | None, model: Any) -> Any:
    config = find_sampler_config(name)
    assert config is not None, f"bad sampler name: {name}"
    if config.options.get("no_sdxl", False) and model.is_sdxl:
        raise Exception(f"{config.name} cannot sample with SDXL models; choose another sampler")
    sampler = config.constructor(model)
    sampler.config = config
    return sampler


def set_samplers() -> None:
    global samplers_hidden
    samplers_hidden = {*shared.opts.hide_samplers}
    samplers_map.clear()
    for sampler in all_samplers:
        for name in (sampler.name, *sampler.aliases):
            samplers_map[name.lower()] = sampler.name


def visible_samplers() -> list[sd_samplers_common.SamplerData]:
    return [sampler for sampler in samplers if sampler.name not in samplers_hidden]


def visible_sampler_names() -> list[str]:
    return [sampler.name for sampler in visible_samplers()]


@functools.cache
def get_sampler_and_scheduler(
    sampler_name: str | None, scheduler_name: str | None, *, convert_automatic: bool = True
) -> tuple[str, str]:
    """Names that exist. "DPM++ 2M Karras" of old is taken apart; an unknown sampler becomes the first; a schedule that
    is the sampler's own becomes "Automatic" unless `convert_automatic` is off.
    """
    scheduler = sd_schedulers.schedulers_map.get(scheduler_name or "", sd_schedulers.schedulers[0])
    name = sampler_name or samplers[0].name
    for candidate in sd_schedulers.schedulers:
        for ending in (candidate.label, candidate.name, *(candidate.aliases or [])):
            if name.endswith(" " + ending):
                scheduler, name = candidate, name[: -(len(ending) + 1)]
                break
    sampler = all_samplers_map.get(name, samplers[0])
    if convert_automatic and sampler.options.get("scheduler") == scheduler.name:
        scheduler = sd_schedulers.schedulers[0]
    return sampler.name, scheduler.label


def _first_pass(d: dict[str, Any]) -> tuple[str, str]:
    return get_sampler_and_scheduler(d.get("Sampler"), d.get("Schedule type"))


def get_sampler_from_infotext(d: dict[str, Any]) -> str:
    return _first_pass(d)[0]


def get_scheduler_from_infotext(d: dict[str, Any]) -> str:
    return _first_pass(d)[1]


def get_hr_sampler_and_scheduler(d: dict[str, Any]) -> tuple[str, str]:
    hr_sampler, hr_scheduler = d.get("Hires sampler", _SAME_SAMPLER), d.get("Hires schedule type", _SAME_SCHEDULER)
    sampler, scheduler = get_sampler_and_scheduler(
        d.get("Sampler") if hr_sampler == _SAME_SAMPLER else hr_sampler,
        d.get("Schedule type") if hr_scheduler == _SAME_SCHEDULER else hr_scheduler,
    )
    return (
        sampler if sampler != d.get("Sampler") else _SAME_SAMPLER,
        scheduler if scheduler != d.get("Schedule type") else _SAME_SCHEDULER,
    )


def get_hr_sampler_from_infotext(d: dict[str, Any]) -> str:
    return get_hr_sampler_and_scheduler(d)[0]


def get_hr_scheduler_from_infotext(d: dict[str, Any]) -> str:
    return get_hr_sampler_and_scheduler(d)[1]


def fix_p_invalid_sampler_and_scheduler(p: Any) -> None:
    asked = p.sampler_name, p.scheduler
    p.sampler_name, p.scheduler = get_sampler_and_scheduler(*asked, convert_automatic=False)
    if (p.sampler_name, p.scheduler) != asked:
        logging.warning(
            "sampler and schedule %s are not known as such; taken are %s", asked, (p.sampler_name, p.scheduler)
        )


set_samplers()

__all__ = [
    "all_samplers",
    "all_samplers_map",
    "create_sampler",
    "find_sampler_config",
    "sample_to_image",
    "samples_to_image_grid",
]
