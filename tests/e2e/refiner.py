"""The host's own Refiner, made to switch where a hybrid request switched."""

from __future__ import annotations

import re
from typing import Any

from tests.e2e.client import Reply, WebUI


def refined(webui: WebUI, hybrid: Reply, base: str, distilled: str, **request: Any) -> Reply:
    """The same request on the Refiner, after as many model calls of the base as the hybrid one made."""
    hybrid.must_work()
    at = _by_calls(webui, hybrid, request) if webui.flavour == "forge" else _by_timestep(hybrid)
    return webui.generate(base, **request, refiner_checkpoint=distilled, refiner_switch_at=at)


def _by_timestep(hybrid: Reply) -> float:
    """A1111 compares its share of timesteps: every call above the switch is the base's, none at it (1.10.1)."""
    return (999 - _number(r"DD switch: sigma [\d.]+ timestep (\d+)", hybrid)) / 1000 - 0.004


def _by_calls(webui: WebUI, hybrid: Reply, request: dict[str, Any]) -> float:
    """Forge compares calls made to calls expected (modules/sd_samplers_common.py, dfdcbab6)."""
    sampler, steps = request.get("sampler_name", "Euler"), request.get("steps", 4)
    if "init_images" in request:
        steps = int(min(request["denoising_strength"], 0.999) * steps) + 1
    second_order = webui.sampler_options(sampler).get("second_order", False)
    return (_number(r'DD U-Net calls: "base (\d+)', hybrid) - 0.5) / (steps * (2 if second_order else 1))


def _number(pattern: str, reply: Reply) -> int:
    found = re.search(pattern, reply.infotext)
    assert found, reply.infotext
    return int(found.group(1))
