"""One request while it runs: which phase a noise level belongs to, with which guidance, and what has run so far."""

from __future__ import annotations

from dataclasses import dataclass, field

from extension_core import __version__
from extension_core.options.fields import INFOTEXT_PREFIX, infotext_value
from extension_core.options.hybrid import BY_NAME, Options
from extension_core.sampling.plan import PassPlan, Plan
from extension_core.sampling.ran import Call, difference
from extension_core.sampling.roles import Roles, roles_of
from extension_core.sampling.routing import Phase

HASH_KEY = f"{INFOTEXT_PREFIX} distilled model hash"
RUN_AS_KEY = f"{INFOTEXT_PREFIX} run as"
_REQUESTED_KEY = f"{INFOTEXT_PREFIX} asked"
# Everything that infotexts hold of this extension beside the options.
INFOTEXT_KEYS = (
    *("distilled model hash", "run as", "asked", "plan", "switch", "version", "U-Net calls", "memory", "note"),
    *("ended", "diversity", "compared", "stopped at", "refused"),
)


@dataclass
class PassCalls:
    """What one pass has made of its plan.

    Attributes:
        ended_early: by an interrupt, a skip or an error.
    """

    plan: PassPlan
    made: list[Call] = field(default_factory=list[Call])
    started: bool = False
    ended_early: bool = False


@dataclass
class Calls:
    """Calls of the denoiser in one run of `p.sample`, pass by pass."""

    passes: list[PassCalls] = field(default_factory=list[PassCalls])

    def clear(self) -> None:
        """Another run begins."""
        self.passes.clear()

    def begin(self, plan: PassPlan) -> PassCalls:
        """A pass is about to run. Forge says so twice before a hires pass, and the second time counts."""
        if self.passes and not self.passes[-1].started and self.passes[-1].plan.name == plan.name:
            self.passes.pop()
        self.passes.append(PassCalls(plan))
        return self.passes[-1]

    def __getitem__(self, phase: Phase) -> int:
        """How many calls a model has made."""
        return sum(call.phase is phase for item in self.passes for call in item.made)


@dataclass
class Session:
    """State of one request; belongs to that request alone.

    Attributes:
        model_title: the distilled model as the host names it, "" if none takes part.
        model_hash: the distilled model's, as short as the host writes it; "" if not known.
        run_as: the distilled model's family and, if its file says so, for how many steps it is; "" if there is none.
        asked: the user's settings of the host in whose place others run, "" if all of them run.
        family_found: what `auto` found and why, "" if the user named the family.
    """

    options: Options
    plan: Plan
    model_title: str
    model_hash: str = ""
    family_found: str = ""
    run_as: str = ""
    asked: str = ""
    calls: Calls = field(default_factory=Calls)

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
    def roles(self) -> Roles:
        """Who makes which phase."""
        return roles_of(self.options.loaded_is)

    def runs(self, phase: Phase) -> bool:
        """Whether a phase has any step."""
        return any(part.split.base if phase is Phase.BASE else part.split.distilled for part in self.plan.passes)

    @property
    def prompt_phase(self) -> Phase:
        """The phase that the host's own reading of the prompt belongs to: the loaded checkpoint's, if it has steps."""
        return self.roles.loaded if self.runs(self.roles.loaded) else self.roles.second

    @property
    def read_by_second(self) -> tuple[Phase, ...]:
        """Phases whose prompts the second model reads, if it has a text encoder of its own."""
        return self.roles.read_by_second(self.options.text_encoder)

    @property
    def loras_differ(self) -> bool:
        """Whether a phase that the second model reads for wants other weights of the LoRAs than the prompt's phase."""
        return any(self.lora_factor(self.prompt_phase) != self.lora_factor(phase) for phase in self.read_by_second)

    def infotext(self) -> dict[str, str]:
        """What was asked for and what the plan is, for the host's infotext."""
        defaults = Options()
        result: dict[str, str] = {}
        for name, value in self.options.as_mapping().items():
            key = BY_NAME[name].infotext_key
            if name == "distilled_model" and self.model_title:
                result[key] = infotext_value(self.model_title)
                if self.model_hash:
                    result[HASH_KEY] = self.model_hash
            elif name == "mode" or (name != "enabled" and value != getattr(defaults, name)):
                result[key] = infotext_value(value)
        settled = {RUN_AS_KEY: self.run_as if self.model_title else "", _REQUESTED_KEY: self.asked}
        result |= {key: text for key, text in settled.items() if text}
        return {**result, **self.infotext_of_plan(), f"{INFOTEXT_PREFIX} version": __version__}

    def infotext_of_plan(self) -> dict[str, str]:
        """What the infotext says of the plan alone."""
        what = {f"{INFOTEXT_PREFIX} plan": self.plan.describe()}
        switch = self.plan.passes[0].split
        if switch.base and switch.distilled:
            level, unit = switch.base[-1], self.plan.passes[0].unit
            sigma, timestep = self.plan.schedule.to_sigma(level, unit), self.plan.schedule.to_timestep(level, unit)
            what[f"{INFOTEXT_PREFIX} switch"] = f"sigma {sigma:.4f} timestep {timestep:.0f}"
        return what

    def difference(self, stopped: bool) -> str:
        """How what has run differs from the plan, in words for a sentence; "" if it does not.

        Args:
            stopped: whether somebody has ended the request before all passes were made.
        """
        for item in self.calls.passes:
            if not item.started and item.plan.runs and not stopped:
                return f"the {item.plan.name} was made by another sampler than the one it was given to"
            found = "" if item.ended_early or not item.started else self._of_pass(item)
            if found:
                return found
        begun = {item.plan.name for item in self.calls.passes}
        left_out = [item.name for item in self.plan.passes if item.name not in begun]
        return f"the {' and the '.join(left_out)} did not run" if left_out and not stopped else ""

    def _of_pass(self, item: PassCalls) -> str:
        return difference(item.plan, item.made, self.plan.schedule)

    def infotext_calls(self) -> dict[str, str]:
        """Model calls that were made, by phase."""
        return {f"{INFOTEXT_PREFIX} U-Net calls": ", ".join(f"{phase.value} {self.calls[phase]}" for phase in Phase)}
