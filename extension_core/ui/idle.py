"""Which options have no effect on what would run now, and why, in words for beside the control. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from extension_core.options.hybrid import Options
from extension_core.sampling.plan import PassPlan
from extension_core.sampling.schedule import Levels
from extension_core.sampling.session import Session


@dataclass(frozen=True)
class Known:
    """What is known of a run; None where it is not, as for one that is refused.

    Attributes:
        base, distilled: whether the model makes any step.
        is_lora: whether the distilled model is a LoRA.
        is_custom: whether no family is known for it.
        steps: how many steps the pass has on which the switch step counts.
    """

    base: bool | None = None
    distilled: bool | None = None
    is_lora: bool | None = None
    is_custom: bool | None = None
    steps: int | None = None

    @classmethod
    def of(cls, session: Session, is_lora: bool | None, is_custom: bool) -> Known:
        """What a plan tells."""
        passes = session.plan.passes
        base, distilled = (any(map(bool, parts)) for parts in zip(*map(_phases, passes), strict=True))
        return cls(base, distilled, is_lora, is_custom, len(passes[0].whole) - 1)


def idle(options: Options, known: Known) -> dict[str, str]:
    """The reason by the option's name; an option that is not named has an effect.

    What is set so that a request is refused for it is never idle: it has to be set back.
    """
    reasons = {**_of_loras(options, known), **_of_family(known), **_of_models(options, known), **_of_mode(options)}
    return {name: f"No effect: {why}" for name, why in reasons.items()}


def _phases(plan: PassPlan) -> tuple[Levels, Levels]:
    return plan.split.base, plan.split.distilled


def _of_mode(options: Options) -> dict[str, str]:
    mode = f"the mode is {options.mode.replace('_', ' ')}"
    if options.mode == "hybrid":
        return {"base_steps": "the base makes no step at k = 0"} if options.switch_step == 0 else {}
    reasons: dict[str, str] = dict.fromkeys(("base_steps", "passes"), mode)
    return reasons if options.mode == "skip_first" else {**reasons, "switch_step": mode}


def _of_models(options: Options, known: Known) -> dict[str, str]:
    """By the plan where there is one, else by the mode."""
    base = known.base if known.base is not None else options.mode in ("hybrid", "base")
    distilled = known.distilled if known.distilled is not None else options.mode != "base"
    reasons: dict[str, str] = {}
    if not base:
        reasons |= dict.fromkeys(("base_cfg", "base_steps", "base_lora_factor"), "the base makes no step")
    if not distilled:
        reasons |= dict.fromkeys(
            ("distilled_cfg", "distilled_lora_factor", "text_encoder"), "the distilled model makes no step"
        )
    if not (base and distilled):
        reasons["base_sampler"] = "one model makes all steps"
    return reasons


def _of_family(known: Known) -> dict[str, str]:
    if not known.is_custom:
        return {}
    return dict.fromkeys(("schedule", "file_steps"), "a custom model keeps the host's settings")


def _of_loras(options: Options, known: Known) -> dict[str, str]:
    reasons: dict[str, str] = {}
    if known.is_lora is False:
        reasons["lora_strength"] = "the distilled model is no LoRA"
    if options.lora_targets == "base":
        reasons["distilled_lora_factor"] = "the prompt's LoRAs are on the base"
    if options.lora_targets == "distilled":
        reasons["base_lora_factor"] = "the prompt's LoRAs are on the distilled model"
    if known.is_lora and not options.carry_from:
        reasons["carry_from"] = "a LoRA has the loaded checkpoint's style"
    if not options.carry_from:
        reasons["carry_strength"] = "no origin is chosen"
    return reasons
