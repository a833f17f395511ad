"""Which model makes which steps, what changes it and where it lives: a table below the plan line. Pure."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass

from extension_core.sampling.plan import PassPlan
from extension_core.sampling.routing import Phase
from extension_core.sampling.session import Session
from extension_core.weights.placement import Placed

_HEADINGS = ("Model", "Steps", "Prompt's LoRAs", "Where it lives")
_PASS_LABELS = {"first pass": "first", "hires pass": "hires"}


@dataclass(frozen=True)
class Model:
    """What the table says of a model beside what the session knows.

    Attributes:
        name: short name of its file.
        changed_by: what else changes it, "" if nothing.
    """

    name: str
    changed_by: str = ""


def summary_html(session: Session, models: Mapping[Phase, Model], placed: Placed) -> str:
    """One row for each model that takes part, and below them why they live where they do.

    Args:
        models: those in memory; one that takes no part is named below the table.
    """
    steps = {phase: _steps(session, phase) for phase in models}
    rows = "".join(_row(session, phase, model, steps[phase], placed) for phase, model in models.items() if steps[phase])
    head = "".join(f"<th scope='col'>{html.escape(text)}</th>" for text in _HEADINGS)
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    idle = [_idle(model, _where(phase, placed)) for phase, model in models.items() if not steps[phase]]
    notes = "; ".join(filter(None, [*idle, placed.why and f"memory: {placed.why}"]))
    below = f"<p class='diversity-found'>{html.escape(notes)}</p>" if notes else ""
    return f"<div class='diversity-models'>{table}</div>{below}"


def style_line(strength: float, loaded: str, origin: str) -> str:
    """What a distilled model gets of the loaded checkpoint's fine-tune."""
    return f"+ {strength:g} × style of {loaded} since {origin}"


def lora_on(strength: float, loaded: str) -> str:
    """What a LoRA as distilled model is."""
    return f"LoRA × {strength:g} on {loaded}"


def _row(session: Session, phase: Phase, model: Model, steps: str, placed: Placed) -> str:
    changed = f"<small>{html.escape(model.changed_by)}</small>" if model.changed_by else ""
    name = f"<b>{phase.value}</b> <span>{html.escape(model.name)}</span>{changed}"
    texts = (steps, _loras(session.lora_factor(phase)), _where(phase, placed))
    cells = zip(_HEADINGS[1:], map(html.escape, texts), strict=True)
    rest = "".join(f'<td data-heading="{html.escape(heading)}">{text}</td>' for heading, text in cells)
    return f"<tr class='diversity-{phase.value}'><th scope='row'>{name}</th>{rest}</tr>"


def _loras(factor: float) -> str:
    return f"× {factor:g}" if factor else "none"


def _where(phase: Phase, placed: Placed) -> str:
    return placed.base if phase is Phase.BASE else placed.distilled


def _idle(model: Model, where: str) -> str:
    return f"{model.name} takes no part and is {where}"


def _steps(session: Session, phase: Phase) -> str:
    """A model's steps, by pass where there are two; "" if it makes none."""
    passes = session.plan.passes
    made = [(item.name, text) for item in passes if (text := _steps_of_pass(item, phase))]
    if len(passes) == 1:
        return "".join(text for _, text in made)
    return ", ".join(f"{_PASS_LABELS.get(name, name)}: {text}" for name, text in made)


def _steps_of_pass(plan: PassPlan, phase: Phase) -> str:
    """Counted on the whole schedule, as the switch step is; what the base refines is said beside it."""
    if not (plan.split.base if phase is Phase.BASE else plan.split.distilled):
        return ""
    if plan.calls is None:  # the sampler makes its own steps between the levels
        return "as many as its sampler takes"
    last = len(plan.whole) - 1
    distilled = max(len(plan.split.distilled) - 1, 0)
    run = len(plan.levels) - 1 if plan.split.distilled else len(plan.split.base) - 1
    if phase is Phase.DISTILLED:
        return _range(last - distilled + 1, last)
    refined = len(plan.split.base) - 1
    shown = _range(last - run + 1, last - distilled)
    if refined == run - distilled:
        return shown
    return f"{shown} in {refined} {'finer' if refined > run - distilled else 'coarser'}"


def _range(first: int, last: int) -> str:
    return f"step {first}" if first >= last else f"steps {first}–{last}"
