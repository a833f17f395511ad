"""One request while it runs: which phase a noise level belongs to, with which guidance, and what has run so far."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from extension_core import __version__
from extension_core.fields import INFOTEXT_PREFIX, infotext_value
from extension_core.options import BY_NAME, Options
from extension_core.sampling.plan import PassPlan, Plan
from extension_core.sampling.routing import Phase

HASH_KEY = f"{INFOTEXT_PREFIX} distilled model hash"


@dataclass
class Session:
    """State of one request; belongs to that request alone.

    Attributes:
        model_title: the distilled model as the host names it, "" if none takes part.
        model_hash: the distilled model's, as short as the host writes it; "" if not known.
        family_found: what `auto` found and why, "" if the user named the family.
    """

    options: Options
    plan: Plan
    model_title: str
    model_hash: str = ""
    family_found: str = ""
    calls: Counter[Phase] = field(default_factory=Counter)

    def pass_plan(self, hires: bool) -> PassPlan:
        """The plan of the pass that is about to run."""
        return self.plan.passes[-1] if hires else self.plan.passes[0]

    def cfg(self, phase: Phase) -> float:
        """Guidance scale of a phase."""
        return self.options.base_cfg if phase is Phase.BASE else self.options.distilled_cfg

    def lora_factor(self, phase: Phase) -> float:
        """What the weights of the prompt's LoRAs are multiplied by in a phase; 0 leaves them out."""
        if self.options.lora_targets not in ("both", phase.value):
            return 0.0
        return self.options.base_lora_factor if phase is Phase.BASE else self.options.distilled_lora_factor

    @property
    def prompt_phase(self) -> Phase:
        """The phase that the host's own reading of the prompt belongs to."""
        return Phase.BASE if any(part.split.base for part in self.plan.passes) else Phase.DISTILLED

    @property
    def loras_differ(self) -> bool:
        """Whether the distilled model's steps want other weights of the prompt's LoRAs than the prompt's phase."""
        return self.lora_factor(self.prompt_phase) != self.lora_factor(Phase.DISTILLED)

    def infotext(self) -> dict[str, str]:
        """What was asked for and what the plan is, for the host's infotext."""
        defaults = Options()
        result = {}
        for name, value in self.options.as_mapping().items():
            key = BY_NAME[name].infotext_key
            if name == "distilled_model" and self.model_title:
                result[key] = infotext_value(self.model_title)
                if self.model_hash:
                    result[HASH_KEY] = self.model_hash
            elif name == "mode" or (name != "enabled" and value != getattr(defaults, name)):
                result[key] = infotext_value(value)
        return {**result, **self._what_ran()}

    def _what_ran(self) -> dict[str, str]:
        what = {f"{INFOTEXT_PREFIX} plan": self.plan.describe()}
        switch = self.plan.passes[0].split
        if switch.base and switch.distilled:
            level, unit = switch.base[-1], self.plan.passes[0].unit
            sigma, timestep = self.plan.schedule.to_sigma(level, unit), self.plan.schedule.to_timestep(level, unit)
            what[f"{INFOTEXT_PREFIX} switch"] = f"sigma {sigma:.4f} timestep {timestep:.0f}"
        what[f"{INFOTEXT_PREFIX} version"] = __version__
        return what

    def infotext_calls(self) -> dict[str, str]:
        """Model calls that were made, by phase."""
        return {f"{INFOTEXT_PREFIX} U-Net calls": ", ".join(f"{phase.value} {self.calls[phase]}" for phase in Phase)}
