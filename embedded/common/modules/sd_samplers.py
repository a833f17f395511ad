"""All samplers by name, and the repair of sampler and schedule names from infotexts."""

from __future__ import annotations

import functools
import logging
from typing import Any

from modules import sd_samplers_common, sd_schedulers
from modules.sd_samplers_kdiffusion import samplers_data_k_diffusion
from modules.sd_samplers_lcm import samplers_data_lcm
from modules.sd_samplers_timesteps import samplers_data_timesteps

all_samplers = [*samplers_data_k_diffusion, *samplers_data_timesteps, *samplers_data_lcm]
all_samplers_map = {sampler.name: sampler for sampler in all_samplers}


def find_sampler_config(name: str | None) -> sd_samplers_common.SamplerData | None:
    return all_samplers_map.get(all_samplers[0].name if name is None else name)


def create_sampler(name: str | None, model: Any) -> Any:
    """AssertionError for a name that is not listed."""
    config = find_sampler_config(name)
    assert config is not None, f"bad sampler name: {name}"
    made = config.constructor(model)
    made.config = config
    return made


def visible_samplers() -> list[sd_samplers_common.SamplerData]:
    return list(all_samplers)


def visible_sampler_names() -> list[str]:
    return [sampler.name for sampler in visible_samplers()]


@functools.cache
def get_sampler_and_scheduler(sampler_name, scheduler_name, *, convert_automatic=True) -> tuple[str, str]:
    """Names that exist: "DPM++ 2M Karras" of old is taken apart, a schedule that is the sampler's own "Automatic"."""
    automatic, known = sd_schedulers.schedulers[0], sd_schedulers.schedulers_map
    schedule, name = known.get(scheduler_name or "", automatic), sampler_name or ""
    if ending := next((ending for ending in known if name.endswith(f" {ending}")), None):
        name, schedule = name.removesuffix(f" {ending}"), known[ending]
    sampler = all_samplers_map.get(name, all_samplers[0])
    is_own = schedule.name == sampler.options.get("scheduler")
    return sampler.name, (automatic if is_own and convert_automatic else schedule).label


def get_sampler_from_infotext(d: dict[str, Any]) -> str:
    return get_sampler_and_scheduler(d.get("Sampler"), d.get("Schedule type"))[0]


def get_scheduler_from_infotext(d: dict[str, Any]) -> str:
    return get_sampler_and_scheduler(d.get("Sampler"), d.get("Schedule type"))[1]


def fix_p_invalid_sampler_and_scheduler(p: Any) -> None:
    asked = (p.sampler_name, p.scheduler)
    known = get_sampler_and_scheduler(*asked, convert_automatic=False)
    if known != asked:
        logging.warning("sampler and schedule %s are not known as such; taken are %s", asked, known)
        p.sampler_name, p.scheduler = known
