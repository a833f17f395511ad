"""Seconds for an image: the base as people use it, the distilled model alone, and the hybrid."""

from __future__ import annotations

import statistics
from typing import Any

from benches import checkpoints
from benches.host import Host
from benches.timing import Clock, Seconds

_BASE = {"steps": 50, "cfg_scale": 7.0, "sampler_name": "Euler"}


def measure(host: Host, files: checkpoints.Files, rounds: int, size: int) -> dict[str, float]:
    """Whole requests, from prompt to picture, side by side; everything is resident and in the page cache.

    The order of distilled and hybrid is reversed every other round.
    """
    hybrid: dict[str, Any] = {"distilled_model": files.distilled.name, "family": "lcm"}
    kinds = {
        "distilled": ({**hybrid, "mode": "distilled"}, {}),
        "hybrid": (hybrid, {}),
        "base": ({"enabled": False}, _BASE),
    }
    seconds: dict[str, list[Seconds]] = {name: [] for name in kinds}
    for i in range(rounds + 1):
        for name in ("base", *(("distilled", "hybrid") if i % 2 else ("hybrid", "distilled"))):
            arguments, request = kinds[name]
            clock = Clock()
            host.generate(size, arguments, **request)
            if i > 0:  # the first round loads
                seconds[name].append(clock.read())

    def ratios(one: str, other: str) -> dict[str, float]:
        pairs = list(zip(seconds[one], seconds[other], strict=True))
        return {
            f"{one}_over_{other}": statistics.median(a.wall / b.wall for a, b in pairs),
            f"{one}_over_{other}_cpu": statistics.median(a.cpu / b.cpu for a, b in pairs),
        }

    return {
        **ratios("hybrid", "distilled"),
        **ratios("base", "hybrid"),
        **{f"{name}_image_seconds": statistics.median(time.wall for time in times) for name, times in seconds.items()},
    }
