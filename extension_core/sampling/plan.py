"""The plan of one request: computed before any step is spent, shown, logged and written to the infotext."""

from __future__ import annotations

from dataclasses import dataclass

from extension_core.sampling.calls import NO_CHURN, Stochastic
from extension_core.sampling.routing import Boundary, Phase, Split
from extension_core.sampling.schedule import Levels, NoiseSchedule, Unit

# These walk from sigma_max to sigma_min on a grid of their own, so the phases are two runs of the sampler.
OWN_GRID_SAMPLERS = ("DPM fast", "DPM adaptive")


@dataclass(frozen=True)
class PassRequest:
    """What the host is about to do in one pass.

    Attributes:
        name: "first pass", "hires pass" or "img2img".
        sampler: sampler of the pass, by the host's name.
        unit: unit of `whole` and `run`.
        whole: levels of the full schedule, descending; the switch step counts on it.
        run: levels the host passes to the sampler: `whole`, or its tail in img2img and hires; () for no step at all.
        base_unit: unit of the base's sampler.
        own_grid: whether the levels are a family's; one that its grid has once is run once, however often it is passed.
        how: the noise that samplers add on their way.
    """

    name: str
    sampler: str
    unit: Unit
    whole: Levels
    run: Levels
    base_unit: Unit
    own_grid: bool = False
    how: Stochastic = NO_CHURN


@dataclass(frozen=True)
class Run:
    """One run of one sampler.

    Attributes:
        levels: descending, in the unit of the sampler.
        boundary: where the models change, in that unit.
    """

    sampler: str
    unit: Unit
    levels: Levels
    boundary: Boundary


@dataclass(frozen=True)
class PassPlan:
    """One pass, decided.

    Attributes:
        whole: levels of the full schedule, on which the switch step counts.
        run: levels as the host passes them to the sampler; () for no step at all.
        levels: those that the pass goes through, before the base's steps are made finer.
        split: levels of each phase as they are run, finer base steps included.
        base_levels: the base's in the unit of its sampler.
        how: the noise that samplers add on their way.
        calls: model calls expected of each phase, None where the sampler chooses.
        note: what the user should know about this pass, "" if nothing.
    """

    name: str
    sampler: str
    base_sampler: str
    unit: Unit
    whole: Levels
    run: Levels
    levels: Levels
    split: Split
    base_unit: Unit
    base_levels: Levels
    how: Stochastic
    base_cfg: float
    distilled_cfg: float
    calls: dict[Phase, int] | None
    note: str = ""

    @property
    def in_two_runs(self) -> bool:
        """Whether base and distilled phase are two runs of (perhaps two) samplers instead of one."""
        if not (self.split.base and self.split.distilled):
            return False
        return self.base_sampler != self.sampler or self.sampler in OWN_GRID_SAMPLERS

    @property
    def runs(self) -> tuple[Run, ...]:
        """What samplers run over, in order; nothing where there is no step to make."""
        if not self.split.levels:
            return ()
        if not self.in_two_runs:
            return (Run(self.sampler, self.unit, self.split.levels, self.split.boundary),)
        boundary = self.split.boundary if self.base_sampler == self.sampler else Boundary(self.base_levels[-1])
        base = Run(self.base_sampler, self.base_unit, self.base_levels, boundary)
        return base, Run(self.sampler, self.unit, self.split.distilled, self.split.boundary)

    def describe(self, schedule: NoiseSchedule) -> str:
        """One readable line: "base 999 -> 759, distilled 759 -> 499 -> 259 -> 0, CFG 1/1, 4 U-Net calls"."""
        if not self.split.levels:
            return "no step, the image stays as it is, 0 U-Net calls"
        parts = [
            f"{phase} {_arrows(levels, schedule, self.unit)}"
            for phase, levels in (("base", self.split.base), ("distilled", self.split.distilled))
            if levels
        ]
        if self.split.base and self.base_sampler != self.sampler:
            parts.append(f"base by {self.base_sampler}")
        guidance = {"base": f"{self.base_cfg:g}", "distilled": f"{self.distilled_cfg:g}"}
        used = [
            guidance[phase]
            for phase, levels in zip(guidance, (self.split.base, self.split.distilled), strict=True)
            if levels
        ]
        parts.append("CFG " + "/".join(used))
        parts.append(
            f"{sum(self.calls.values())} U-Net calls" if self.calls else "as many U-Net calls as the sampler takes"
        )
        return ", ".join(parts)


@dataclass(frozen=True)
class Plan:
    """All passes of a request."""

    passes: tuple[PassPlan, ...]
    schedule: NoiseSchedule

    @property
    def notes(self) -> tuple[str, ...]:
        """Everything the user should know, without repeats."""
        return tuple(dict.fromkeys(p.note for p in self.passes if p.note))

    @property
    def takes_turns(self) -> bool:
        """Whether both models run in any pass."""
        return any(part.split.base and part.split.distilled for part in self.passes)

    def describe(self) -> str:
        """One readable line for panel, log and infotext."""
        lines = [p.describe(self.schedule) for p in self.passes]
        if len(lines) == 1:
            return lines[0]
        return "; ".join(f"{p.name}: {line}" for p, line in zip(self.passes, lines, strict=True))


def _arrows(levels: Levels, schedule: NoiseSchedule, unit: Unit) -> str:
    shown = [f"{schedule.to_timestep(level, unit):.0f}" for level in levels]
    if len(shown) > 9:
        shown = [*shown[:3], "...", *shown[-3:]]
    return " -> ".join(shown)
