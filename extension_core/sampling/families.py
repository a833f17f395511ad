"""Families of distilled models: what each was trained with, and how to tell one from a file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from extension_core.errors import DiversityError
from extension_core.options import Options

Grid = Literal["lcm", "trailing", "host", "single_399", "single_800"]


@dataclass(frozen=True)
class Family:
    """How one family of distilled models wants to be sampled.

    Attributes:
        sampler: the host's name of the sampler that matches the training; None keeps the host's choice.
        grid: the timesteps of the training (`schedule.family_timesteps`); "host" keeps the host's schedule.
        steps: step count used when the request's own does not suit.
        suits: smallest and largest step count the family is made for.
        single_step: grid of its files for one step, if that is another.
    """

    name: str
    label: str
    sampler: str | None
    grid: Grid
    steps: int
    suits: tuple[int, int]
    single_step: Grid | None = None


FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        Family("dmd2", "DMD2", "LCM", "lcm", 4, (1, 8), "single_399"),
        Family("lightning", "SDXL-Lightning", "Euler", "trailing", 4, (2, 8)),
        Family("turbo", "Turbo", "Euler a", "trailing", 4, (1, 8)),
        Family("lcm", "LCM", "LCM", "lcm", 4, (2, 12)),
        Family("hyper", "Hyper-SD", "DDIM", "trailing", 4, (1, 12), "single_800"),
        Family("pcm", "PCM", "DDIM", "trailing", 4, (2, 16)),
        Family("custom", "custom", None, "host", 0, (1, 10_000)),
    )
}

# Most telling first: a merge is often called "turbo" as well as by the method that made it.
_NAME_PATTERNS: tuple[tuple[str, str], ...] = (
    ("dmd2", r"dmd[-_ ]?2?(?![a-z])"),
    ("lightning", r"lightning"),
    ("hyper", r"hyper[-_ ]?sd|(?<![a-z])hyper(?![a-z])"),
    ("lcm", r"(?<![a-z])lcm(?![a-z])|lcm[-_ ]?like"),
    ("pcm", r"(?<![a-z])pcm(?![a-z])"),
    ("turbo", r"turbo"),
)
_STEP_COUNT = re.compile(r"(?<!\d)(\d{1,2})[-_ ]?steps?(?![a-z])", re.IGNORECASE)
# Files that keep guidance say so: Hyper-SD's "CFG", PCM's "normalcfg".
_KEEPS_CFG = re.compile(r"(?<![a-z])(?:normal)?cfg(?![a-z])", re.IGNORECASE)
_METADATA_KEYS = (
    "modelspec.title",
    "modelspec.description",
    "modelspec.tags",
    "modelspec.usage_hint",
    "modelspec.architecture",
    "modelspec.merged_from",
    "ss_output_name",
    "ss_training_comment",
    "distillation",
)


@dataclass(frozen=True)
class Detection:
    """What `auto` made of a file.

    Attributes:
        steps: the step count the file is for, None if it does not say.
        why: where the family was found.
        keeps_cfg: whether the file says that it was trained to be used with guidance.
    """

    family: Family
    steps: int | None
    why: str
    keeps_cfg: bool = False

    @property
    def grid(self) -> Grid:
        """The timesteps of the file's training."""
        return (self.family.single_step if self.steps == 1 else None) or self.family.grid


def detect_family(file_name: str, metadata: Mapping[str, str]) -> Detection:
    """Tell the family from a file's name, then from its metadata; custom when neither says."""
    sources = [(f"the file name '{file_name}'", file_name)]
    sources += [(f"its metadata {key}", str(metadata[key])) for key in _METADATA_KEYS if metadata.get(key)]
    steps = next((int(found.group(1)) for _, text in sources if (found := _STEP_COUNT.search(text))), None)
    for where, text in sources:
        for name, pattern in _NAME_PATTERNS:
            if re.search(pattern, text, re.IGNORECASE):
                keeps_cfg = name in ("hyper", "pcm") and _KEEPS_CFG.search(text) is not None
                return Detection(FAMILIES[name], steps, f"{where} says {FAMILIES[name].label}", keeps_cfg)
    return Detection(
        FAMILIES["custom"], steps, "neither file name nor metadata names a family, so the host's settings are kept"
    )


def check_one_step(detection: Detection, options: Options) -> None:
    """Refuse to leave nothing to a file that was made for a single step.

    Raises:
        DiversityError: the base would make that step.
    """
    family = detection.family
    if detection.grid == family.grid or options.mode != "hybrid" or options.switch_step == 0:
        return
    raise DiversityError(
        f"The distilled model '{options.distilled_model}' is a {family.label} model for one step, so switch_step "
        f"{options.switch_step} leaves it nothing; set mode to distilled or choose a file for 2 steps or more."
    )


def guidance_note(detection: Detection, options: Options) -> tuple[str, ...]:
    """A note where the file was trained with guidance and the user asks for none."""
    if not detection.keeps_cfg or options.distilled_cfg != 1:
        return ()
    name = options.distilled_model
    return (f"The distilled model '{name}' is of the kind that keeps guidance (CFG 5 to 8), and distilled CFG is 1.",)


def distilled_twice(base: Detection, lora: Detection) -> tuple[str, ...]:
    """A note where a LoRA's family is already merged into the base, by the base's name."""
    if base.family.sampler is None or base.family != lora.family:
        return ()
    note = (
        f"The loaded checkpoint is {base.family.label} already ({base.why}) and gets the {base.family.label} LoRA once "
        "more; load the checkpoint it was made from, or choose no LoRA."
    )
    return (note,)


def steps_for(detection: Detection, requested: int) -> int:
    """Step count of a run: what the file is made for, else the request's own where it suits, else the family's."""
    family = detection.family
    if family.grid == "host":
        return requested
    if detection.steps is not None and family.suits[0] <= detection.steps <= family.suits[1]:
        return detection.steps
    return requested if family.suits[0] <= requested <= family.suits[1] else family.steps
