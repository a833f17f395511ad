"""A plan as `POST /plan` tells it."""

from __future__ import annotations

from typing import Any

from extension_core.hosts.common.http.openapi import NUMBER, TEXT, WHOLE, list_of, of, or_null
from extension_core.hosts.common.http.serving import finite
from extension_core.hosts.common.plan.settle import RequestPlan
from extension_core.options.schema import Schema
from extension_core.sampling.plan import PassPlan
from extension_core.sampling.routing import Phase
from extension_core.sampling.schedule import Levels, NoiseSchedule, Unit

_LEVELS = of({"sigma": list_of(or_null(NUMBER)), "timestep": list_of(or_null(NUMBER))})
_CALLS = {**or_null(of({phase.value: WHOLE for phase in Phase})), "description": "Null: the sampler takes its own."}
_PASS = of(
    {
        "name": {"type": "string", "enum": ["first pass", "hires pass", "img2img"]},
        "sampler": TEXT,
        "base_sampler": TEXT,
        "unit": {"type": "string", "enum": ["sigma", "timestep"]},
        "base": _LEVELS,
        "distilled": _LEVELS,
        "calls": _CALLS,
        "note": TEXT,
    }
)
PLAN: Schema = of(
    {
        "line": {"type": "string", "description": "The plan as the page and the infotext say it."},
        "checkpoint": {"type": "string", "description": "The loaded checkpoint; its part is `loaded_is`."},
        "distilled_model": {"type": "string", "description": "The model beside it, empty if it runs alone."},
        "family": TEXT,
        "why": {"type": "string", "description": "Where the family was found."},
        "sampler": {"type": "string", "description": "Of the first pass, as the family has set it."},
        "steps": {"type": "integer", "description": "Of the first pass, as the family has set them."},
        "passes": list_of(_PASS),
        "switch": or_null(of({"sigma": or_null(NUMBER), "timestep": or_null(NUMBER)})),
        "notes": list_of(TEXT),
        "memory": of({"base": TEXT, "distilled": TEXT, "why": TEXT}),
        "infotext": {
            "type": "object",
            "additionalProperties": TEXT,
            "description": "What would be written before the first step, without hashes.",
        },
        "warnings": {**list_of(TEXT), "description": "What to mind of these settings, each with its remedy."},
        "loaded_is": {"type": "string", "enum": [phase.value for phase in Phase]},
    }
)


def plan_as_json(found: RequestPlan, checkpoint: str, notes: tuple[str, ...]) -> dict[str, Any]:
    """A plan for `json.dumps`."""
    schedule, first = found.plan.schedule, found.plan.passes[0]
    both = first.split.base and first.split.distilled
    return {
        "line": found.plan.describe(),
        "checkpoint": checkpoint,
        "distilled_model": found.session.model_title,
        "family": found.detection.family.name,
        "why": found.detection.why,
        "sampler": found.request.sampler_name,
        "steps": found.request.steps,
        "passes": [_pass(item, schedule) for item in found.plan.passes],
        "switch": _level(first.split.base[-1], schedule, first.unit) if both else None,
        "notes": list(notes),
        "memory": {"base": found.placed.base, "distilled": found.placed.distilled, "why": found.placed.why},
        "infotext": found.session.infotext(),
        "warnings": [caution.sentence for caution in found.warnings],
        "loaded_is": found.session.roles.loaded.value,
    }


def _pass(item: PassPlan, schedule: NoiseSchedule) -> dict[str, Any]:
    return {
        "name": item.name,
        "sampler": item.sampler,
        "base_sampler": item.base_sampler,
        "unit": item.unit,
        "base": _levels(item.split.base, schedule, item.unit),
        "distilled": _levels(item.split.distilled, schedule, item.unit),
        "calls": {phase.value: item.calls[phase] for phase in Phase} if item.calls else None,
        "note": item.note,
    }


def _levels(levels: Levels, schedule: NoiseSchedule, unit: Unit) -> dict[str, list[float | None]]:
    both_units = [_level(level, schedule, unit) for level in levels]
    return {name: [level[name] for level in both_units] for name in ("sigma", "timestep")}


def _level(level: float, schedule: NoiseSchedule, unit: Unit) -> dict[str, float | None]:
    return {"sigma": finite(schedule.to_sigma(level, unit)), "timestep": finite(schedule.to_timestep(level, unit))}
