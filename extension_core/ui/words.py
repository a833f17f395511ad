"""A plan in words: who makes which step, what runs in place of the host's settings, and what it costs. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from extension_core.sampling.plan import PassPlan
from extension_core.sampling.routing import Phase
from extension_core.sampling.schedule import Levels
from extension_core.sampling.session import Session

_NO_SCHEDULER = ("", "Automatic")
_SHARE_TOLD = 0.1
_CALLED = {Phase.BASE: "base", Phase.DISTILLED: "distilled model"}


@dataclass(frozen=True)
class Settings:
    """The host's settings that a family may replace; "" and 0 where the host's page does not tell.

    Attributes:
        cfg: of each model that makes steps; a user's own is one.
    """

    steps: int = 0
    sampler: str = ""
    scheduler: str = ""
    cfg: tuple[float, ...] = ()

    @property
    def sampled(self) -> str:
        """E.g. `DPM++ 2M Karras`."""
        return self.sampler if self.scheduler in _NO_SCHEDULER else f"{self.sampler} {self.scheduler}"

    @property
    def guided(self) -> str:
        """E.g. `3 for the base and 1 for the distilled model`."""
        if len(self.cfg) < len(Phase):
            return "".join(f"{cfg:g}" for cfg in self.cfg)
        return " and ".join(f"{cfg:g} for the {_CALLED[phase]}" for cfg, phase in zip(self.cfg, Phase, strict=True))

    @property
    def guided_in_short(self) -> str:
        """E.g. `CFG 3, then 1`; "" if the host's page does not tell."""
        return f"CFG {', then '.join(f'{cfg:g}' for cfg in self.cfg)}" if self.cfg else ""

    @property
    def short(self) -> str:
        """E.g. `LCM, 4 steps, CFG 1`."""
        guided = self.guided_in_short
        return ", ".join(filter(None, (self.sampled, _plural(self.steps, "step"), guided)))


def who(session: Session, names: Mapping[Phase, str]) -> str:
    """E.g. `Step 1 of 4: monsters_base; steps 2 to 4: monsters_distilled`, pass by pass where there are two."""
    parts = [(item.name, _who(item, names)) for item in session.plan.passes]
    said = parts[0][1] if len(parts) == 1 else ". ".join(f"{_upper(name)}: {text}" for name, text in parts)
    return _upper(said)


def _who(plan: PassPlan, names: Mapping[Phase, str]) -> str:
    if not plan.split.levels:
        return "no step"
    total, run = len(plan.whole) - 1, len(plan.levels) - 1
    count = {phase: steps_of(plan, phase) for phase in Phase}
    first_distilled = total - count[Phase.DISTILLED] + 1
    spans = {Phase.BASE: (total - run + 1, first_distilled - 1), Phase.DISTILLED: (first_distilled, total)}
    parts: list[str] = []
    for phase in filter(count.__getitem__, Phase):
        begin, end = spans[phase]
        steps = f"step {end}" if begin >= end else f"steps {begin} to {end}"
        of = "" if parts else f" of {total}"
        other = f", made in {count[phase]}" if count[phase] != max(end - begin, 0) + 1 else ""
        parts.append(f"{steps}{of}{other}: {names.get(phase) or f'the {_CALLED[phase]}'}")
    return "; ".join(parts)


def replaced(requested: Settings, runs: Settings) -> str:
    """E.g. `Your 20 steps, DPM++ 2M Karras, CFG 7 are replaced by 4, LCM, 1`; "" if all runs as asked."""
    pairs: list[tuple[str, str]] = []
    if requested.steps and requested.steps != runs.steps:
        pairs.append((_plural(requested.steps, "step"), str(runs.steps)))
    if requested.sampler and requested.sampled != runs.sampled:
        pairs.append((requested.sampled, runs.sampled))
    if requested.cfg and runs.cfg and set(requested.cfg) != set(runs.cfg):
        pairs.append((f"CFG {requested.guided}", runs.guided))
    if not pairs:
        return ""
    theirs, ours = (", ".join(texts) for texts in zip(*pairs, strict=True))
    is_one = len(pairs) == 1 and not theirs.endswith("steps")
    return f"Your {theirs} {'is' if is_one else 'are'} replaced by {ours}"


def steps_of(plan: PassPlan, phase: Phase) -> int:
    """How many steps a model makes in a pass."""
    return max(len(_levels(plan, phase)) - 1, 0)


def cfg_of(session: Session) -> tuple[float, ...]:
    """Guidance of the models that make steps, once where it is the same."""
    found = tuple(session.cfg(phase) for phase in _running(session))
    return found[:1] if len(set(found)) == 1 else found


def cost(session: Session) -> str:
    """What the plan's line does not count, "" if nothing: a model that is guided is computed twice in each call."""
    twice = {phase: _calls(session, phase) for phase in _running(session) if session.cfg(phase) != 1}
    more = sum(twice.values())
    if not more:
        return ""
    why = " and ".join(f"{phase.value} CFG {session.cfg(phase):g}" for phase in twice)
    compute = "computes" if len(twice) == 1 else "compute"
    return f"{_all_calls(session) + more} U-Net evaluations: {why} {compute} the negative prompt as well"


def state(session: Session, label: str) -> str:
    """E.g. `DMD2 · base 1 + distilled 3 · 4 calls`, for the closed panel."""
    made = {phase: sum(steps_of(item, phase) for item in session.plan.passes) for phase in Phase}
    steps = " + ".join(f"{phase.value} {count}" for phase, count in made.items() if count) or "no step"
    calls = ""
    if all(item.calls is not None for item in session.plan.passes):
        calls = _plural(_all_calls(session), "call")
        calls += f" ({cost(session).partition(' U-Net')[0]} evaluations)" if cost(session) else ""
    return " · ".join(filter(None, (label, steps, calls)))


def negative(session: Session) -> str:
    """What the negative prompt does."""
    guided = [phase for phase in _running(session) if session.cfg(phase) != 1]
    if not guided:
        return "No effect at CFG 1"
    if len(guided) == len(_running(session)):
        return "Acts on all steps"
    return f"Acts on the {_CALLED[guided[0]]}'s steps alone (CFG {session.cfg(guided[0]):g})"


def trial(images: int, base: Settings, runs: Settings) -> str:
    """What Try it makes and costs.

    Args:
        base: what runs by the base alone.
        runs: what runs by both in turn, and by the distilled model alone.
    """
    alone = _plural(base.steps, "step") + (f", CFG {base.guided}" if base.cfg else "")
    total = base.steps + 2 * runs.steps
    return (
        f"Makes {_plural(images, 'image')} by the base alone ({alone}), by the distilled model alone and by both "
        f"({_plural(runs.steps, 'step')} each), and measures how different they are: {total} steps for each image."
    )


def small_share(session: Session) -> str:
    """Where the base makes next to nothing of a run, as of a file whose family nobody knows; "" if more, or none."""
    plan = session.plan.passes[0]
    base, total = steps_of(plan, Phase.BASE), sum(steps_of(plan, phase) for phase in Phase)
    if not base or base == total or base / total >= _SHARE_TOLD:
        return ""
    share = f"{100 * base / total:.0f} %"
    return f"The base makes {base} of {total} steps ({share}): name the Family or raise Switch step k"


def _running(session: Session) -> list[Phase]:
    return [phase for phase in Phase if any(_levels(item, phase) for item in session.plan.passes)]


def _calls(session: Session, phase: Phase) -> int:
    return sum((item.calls or {}).get(phase, 0) for item in session.plan.passes)


def _all_calls(session: Session) -> int:
    return sum(_calls(session, phase) for phase in Phase)


def _levels(plan: PassPlan, phase: Phase) -> Levels:
    return plan.split.base if phase is Phase.BASE else plan.split.distilled


def _plural(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]
