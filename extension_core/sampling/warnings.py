"""What is to be said of settings before anything runs: they do what they say, and perhaps not what was meant. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

from extension_core.options.hybrid import Options
from extension_core.sampling.families import Detection, distilled_twice
from extension_core.sampling.plan import PassPlan, Plan
from extension_core.sampling.plan_notes import no_distilled_note
from extension_core.sampling.roles import Roles, Side, is_few_step, tells_no_few_steps
from extension_core.sampling.routing import Phase

# A file that nothing is known of is asked about where it runs more steps than any family is made for at its usual.
_FEW_STEPS = 12
# The paper's base makes a quarter of the run; with less than this the image is the distilled model's.
_LEAST_SHARE, _USUAL_SHARE = 0.1, 0.25


@dataclass(frozen=True)
class Caution:
    """One sentence: what was wrong, what was found, what to do.

    Attributes:
        on_image: whether the image comes out otherwise because of it, so that its infotext is to say it.
    """

    sentence: str
    on_image: bool = True


@dataclass(frozen=True)
class Situation:
    """What the sentences are made from.

    Attributes:
        detection: the distilled model's, with the user's own word for its family and steps.
        base, distilled: None where that model is not known; one of them is the loaded checkpoint.
        same: how the two files are one, as the end of "the distilled model ...", "" if they are not.
        in_prompt: LoRAs that the prompt names, the distilled model itself left out.
        negative_prompt: whether there is one.
    """

    options: Options
    plan: Plan
    detection: Detection
    base: Side | None
    distilled: Side | None
    roles: Roles = field(default_factory=Roles)
    same: str = ""
    in_prompt: tuple[Side, ...] = ()
    negative_prompt: bool = False

    def runs(self, phase: Phase) -> bool:
        """Whether a model makes any step."""
        return any(part.split.base if phase is Phase.BASE else part.split.distilled for part in self.plan.passes)


def warnings_on(situation: Situation) -> tuple[Caution, ...]:
    """All that is to be said, the weightiest first; nothing where two readings of a file are possible."""
    found = (
        *_same_file(situation),
        *(roles := tuple(_roles(situation))),
        *(() if roles or situation.same else _ordinary(situation)),
        *_distilled_base(situation),
        *(Caution(note) for part in situation.plan.passes if (note := no_distilled_note(part, situation.options))),
        *_small_share(situation),
        *_guidance(situation),
        *_negative_prompt(situation),
    )
    return tuple(dict.fromkeys(found))


def _same_file(situation: Situation) -> Iterator[Caution]:
    if situation.same and situation.distilled is not None:
        yield Caution(
            f"The distilled model '{situation.distilled.name}' {situation.same}, so switching has no effect; choose "
            "another file."
        )


def _roles(situation: Situation) -> Iterator[Caution]:
    """The few-step model has the base's part, and the other the distilled one's."""
    base, distilled = situation.base, situation.distilled
    if base is None or distilled is None or situation.same or not is_few_step(base.detection):
        return
    named = is_few_step(situation.detection)  # by the user, for the file does not say it
    if named or not tells_no_few_steps(distilled) or not situation.runs(Phase.DISTILLED):
        return
    role = situation.roles.second.value
    loaded, chosen = (distilled, base) if situation.roles.turned else (base, distilled)
    yield Caution(
        f"The roles look reversed: '{base.name}' makes the base's steps and is {base.detection.family.label} "
        f"({base.detection.why}), and '{distilled.name}' finishes the image and is no few-step model by its name; set "
        f"Loaded checkpoint is to {role}, or load '{chosen.name}' and choose '{loaded.name}'."
    )


def _ordinary(situation: Situation) -> Iterator[Caution]:
    found, distilled, steps = situation.detection, situation.distilled, _most_steps(situation.plan)
    unknown = situation.options.family == "auto" and not is_few_step(found) and found.steps is None
    if distilled is None or not unknown or steps <= _FEW_STEPS or not situation.runs(Phase.DISTILLED):
        return
    what = "LoRA" if distilled.is_lora else "model"
    how = f"your {steps} steps at CFG {situation.options.distilled_cfg:g}"
    yield Caution(
        f"The distilled model '{distilled.name}' is perhaps no few-step {what} ({found.why}), and runs {how}; choose a "
        f"few-step file, or say under Family what it is."
    )


def _distilled_base(situation: Situation) -> Iterator[Caution]:
    """The base is a few-step model too, by itself or by what the prompt puts on it."""
    if situation.same or not situation.runs(Phase.BASE) or not situation.runs(Phase.DISTILLED):
        return
    base, distilled = situation.base, situation.distilled
    if base is not None and distilled is not None and is_few_step(base.detection):
        if distilled.is_lora and (twice := distilled_twice(base.detection, situation.detection)):
            yield Caution(twice[0])
        elif is_few_step(situation.detection):
            yield Caution(
                f"'{base.name}' makes the base's steps and is {base.detection.family.label} itself "
                f"({base.detection.why}), so the images are as alike as without a base; take the model that it was "
                "made from as base."
            )
    if situation.options.lora_targets != "distilled" and situation.options.base_lora_factor:
        yield from (_in_prompt(lora) for lora in situation.in_prompt if is_few_step(lora.detection))


def _in_prompt(lora: Side) -> Caution:
    return Caution(
        f"The LoRA '{lora.name}' in the prompt is {lora.detection.family.label} ({lora.detection.why}), so the base is "
        "a few-step model too and the images are as alike as without it; take it out of the prompt and choose it as "
        "distilled model, or set LoRA targets to distilled."
    )


def _small_share(situation: Situation) -> Iterator[Caution]:
    if is_few_step(situation.detection):
        return
    for part in situation.plan.passes:
        if part.split.base and part.split.distilled and (share := _share(part, situation.options)) < _LEAST_SHARE:
            k, steps = situation.options.switch_step, len(part.whole) - 1
            yield Caution(
                f"The base makes {k} of {steps} steps, {100 * share:.0f} % of the run: the distilled model is of an "
                "unknown family and your steps are kept; lower Sampling steps to the number its file is made for, or "
                f"raise Switch step k to {math.ceil(_USUAL_SHARE * steps)} for a quarter."
            )
            return


def _share(part: PassPlan, options: Options) -> float:
    return options.switch_step / max(len(part.whole) - 1, 1)


def _most_steps(plan: Plan) -> int:
    return max((len(part.whole) - 1 for part in plan.passes if part.split.distilled), default=0)


def _guidance(situation: Situation) -> Iterator[Caution]:
    found, cfg = situation.detection, situation.options.distilled_cfg
    if cfg > 1 and is_few_step(found) and not found.keeps_cfg and situation.runs(Phase.DISTILLED):
        yield Caution(
            f"Distilled CFG is {cfg:g}, and {found.family.label} models are trained for 1: more burns the colours and "
            "doubles the work of each step; set it to 1 unless the file's own page says otherwise."
        )


def _negative_prompt(situation: Situation) -> Iterator[Caution]:
    options = situation.options
    scales = {"Base CFG": options.base_cfg, "Distilled CFG": options.distilled_cfg}
    used = [name for name, phase in zip(scales, Phase, strict=True) if situation.runs(phase)]
    if not situation.negative_prompt or not used or any(scales[name] != 1 for name in used):
        return
    found = f"{used[0]} is 1" if len(used) == 1 else "Base CFG and Distilled CFG are 1"
    on_base = "Base CFG to 2 or more, so that it acts on the base's steps"
    remedy = on_base if "Base CFG" in used else "Distilled CFG above 1"
    yield Caution(f"The negative prompt has no effect, for {found}; set {remedy}, or leave it out.", on_image=False)
