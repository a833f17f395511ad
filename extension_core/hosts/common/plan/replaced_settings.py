"""The host's settings that a request asked for and others run in place of, in the words of the host's infotext."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# The hosts' labels by the fields of a processing object (modules/processing.py `create_infotext`, 1.10.1).
_LABELS = {
    "sampler_name": "Sampler",
    "scheduler": "Schedule type",
    "steps": "Steps",
    "cfg_scale": "CFG scale",
    "hr_sampler_name": "Hires sampler",
    "hr_second_pass_steps": "Hires steps",
}
_HIRES = "hr_"


def settings_of(p: Any) -> dict[str, Any]:
    """What a request asks of them now; those of a hires pass where it has one."""
    hires = getattr(p, "enable_hr", False)
    return {name: getattr(p, name, None) for name in _LABELS if hires or not name.startswith(_HIRES)}


def replaced(asked: Mapping[str, Any], runs: Mapping[str, Any]) -> str:
    """E.g. `Sampler DPM++ SDE, Schedule type Karras, Steps 20, CFG scale 7`; "" if all runs as asked.

    What is left to the host (an empty name, 0 hires steps) was not asked for.
    """
    named = {name: value for name, value in asked.items() if value and value != runs[name]}
    return ", ".join(f"{_LABELS[name]} {_number(value)}" for name, value in named.items())


def _number(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
