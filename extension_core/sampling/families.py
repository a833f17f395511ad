"""Families of distilled models: what each was trained with, and how to tell one from a file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from extension_core.errors import DiversityError
from extension_core.options.hybrid import Options
from extension_core.sampling.family_names import NameSays, hints_at_few_steps, other_kind, tell
from extension_core.sampling.file_words import words_of
from extension_core.sampling.schedule import Grid, GridName, OwnTimesteps


@dataclass(frozen=True)
class Family:
    """How one family of distilled models wants to be sampled.

    Attributes:
        sampler: the host's name of the sampler that matches the training; None keeps the host's choice.
        grid: the timesteps that it is run at (`schedule.family_levels`); "host" keeps the host's schedule.
        steps: step count used when the request's own does not suit.
        suits: smallest and largest step count the family is made for.
        single_step: grid of its files for one step, if that is another.
        trained: the timesteps of its training, if those are others.
    """

    name: str
    label: str
    sampler: str | None
    grid: GridName
    steps: int
    suits: tuple[int, int]
    single_step: GridName | None = None
    trained: GridName | None = None


FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        Family("dmd2", "DMD2", "LCM", "lcm", 4, (1, 8), "single_399", "trailing"),
        Family("lightning", "SDXL-Lightning", "Euler", "trailing", 4, (2, 8)),
        Family("turbo", "Turbo", "Euler a", "trailing", 4, (1, 8)),
        Family("lcm", "LCM", "LCM", "lcm", 4, (2, 12)),
        Family("hyper", "Hyper-SD", "DDIM", "trailing", 4, (1, 12), "single_800"),
        Family("pcm", "PCM", "DDIM", "trailing", 4, (2, 16)),
        Family("tcd", "TCD", "DDIM", "lcm", 4, (2, 16)),
        Family("pd", "progressive distillation", "DDIM", "trailing", 4, (1, 64)),
        Family("custom", "custom", None, "host", 0, (1, 10_000)),
    )
}

# Files that keep guidance say so: Hyper-SD's "CFG", PCM's "normalcfg".
_KEEPS_CFG = re.compile(r"(?<![a-z])(?:normal)?cfg(?![a-z])", re.IGNORECASE)
# Metadata that is a name. Descriptions, comments and hints name what a file goes with as well as what it is.
_NAMES = ("distillation", "modelspec.title", "ss_output_name")
_DESCRIPTIONS = ("modelspec.description", "modelspec.tags", "modelspec.usage_hint", "modelspec.merged_from")
_LONGEST_NAME = 100
_LONGEST_TAGS = 2_000
# How what this project's trainer writes into a file's metadata begins.
_OURS = "diversity_distillation"
# How the trainer of the shipped pair begins a description.
_STUDENT = re.compile(r"(\w+) student\b")
_KINDS = ("ss_base_model_version", "modelspec.architecture")
_PICTURES = ("ss_tag_frequency", "ss_dataset_dirs", "ss_num_train_images")
_UNIFIED_STEPS = (1, 8)


@dataclass(frozen=True)
class Detection:
    """What `auto` made of a file.

    Attributes:
        steps: the step count the file is for, None if it does not say.
        why: where the family was found.
        keeps_cfg: whether the file says that it was trained to be used with guidance.
        unified: whether it is one of Hyper-SD's LoRAs "for 1 step", which are for 1 to 8 and for TCD's sampler.
        predicts_x0: whether it predicts the clean image in place of the noise: SDXL-Lightning's for 1 step.
        hints: whether name or metadata hold words of few-step models, whatever they come to; without a hint a whole
            model is an ordinary one.
        own: the timesteps that a student of this project's trainer was trained for.
    """

    family: Family
    steps: int | None
    why: str
    keeps_cfg: bool = False
    unified: bool = False
    predicts_x0: bool = False
    hints: bool = False
    own: OwnTimesteps | None = None

    @property
    def grid(self) -> Grid:
        """The timesteps of the family for this file."""
        if self.own is not None:
            return self.own
        if self.unified and self.family.name == "hyper":
            return "lcm"
        return (self.family.single_step if self.steps == 1 else None) or self.family.grid

    @property
    def suits(self) -> tuple[int, int]:
        """Smallest and largest step count that the file is made for."""
        fewest, most = _UNIFIED_STEPS if self.unified else self.family.suits
        if self.own is not None:
            return min(fewest, len(self.own.timesteps)), max(most, len(self.own.timesteps))
        return fewest, most

    @property
    def is_for_one_step(self) -> bool:
        """Whether its only step is made at noise levels of its own."""
        return len(self.own.timesteps) == 1 if self.own is not None else self.grid == self.family.single_step


def detect_family(file_name: str, metadata: Mapping[str, str]) -> Detection:
    """Tell the family from what a file's metadata calls it, then from its name; custom when neither says."""
    if (student := _student_of_ours(metadata)) is not None:
        return student
    taught = any(str(metadata.get(key, "")) not in ("", "{}", "[]", "0", "None") for key in _PICTURES)
    sources = [(where, text, tell(text, taught or alone)) for where, text, alone in _sources(file_name, metadata)]
    steps = next((says.steps for _, _, says in sources if says.family and says.steps), None)
    steps = steps or next((says.steps for _, _, says in reversed(sources) if says.steps), None)
    kinds = (other_kind(str(metadata[key])[:_LONGEST_NAME]) for key in _KINDS if metadata.get(key))
    kind = next(filter(None, kinds), "")
    if kind:
        return _custom(f"its metadata says {kind}, for which there is no family", steps, hints=True)
    for where, text, says in sources:
        if says.family:
            return _detected(where, text, says, steps, sources[-1][2])
    said = next((f"{where} {says.words}" for where, _, says in sources if says.words), "")
    hints = bool(said) or any(hints_at_few_steps(text) for text in _all_texts(file_name, metadata))
    return _custom(said or "neither file name nor metadata names a family", steps, hints)


def _student_of_ours(metadata: Mapping[str, str]) -> Detection | None:
    """A file of this project's trainer (extension_core/training/describe.py) says everything itself."""
    family = FAMILIES.get(str(metadata.get(f"{_OURS}.family", "")))
    if family is None or family.grid == "host":
        return None
    own = OwnTimesteps.read(str(metadata.get(f"{_OURS}.timesteps", "")), family.grid)
    if own is None:
        return None
    return Detection(family, len(own.timesteps), f"its metadata {_OURS}.family says {family.name}", hints=True, own=own)


def _all_texts(file_name: str, metadata: Mapping[str, str]) -> list[str]:
    """Whatever may hold a hint; to know a family by it would be too little."""
    return [file_name, *(str(metadata.get(key, ""))[:_LONGEST_TAGS] for key in (*_NAMES, *_DESCRIPTIONS))]


def _sources(file_name: str, metadata: Mapping[str, str]) -> list[tuple[str, str, bool]]:
    """Where it stands, what it says, and whether it is a single word; the file's name comes last."""
    named = [(key, str(metadata[key])) for key in _NAMES if metadata.get(key)]
    student = _STUDENT.match(str(metadata.get("modelspec.description", "")))
    named += [("modelspec.description", student.group(1))] if student else []
    sources = [(f"its metadata {key}", text, False) for key, text in named if len(text) <= _LONGEST_NAME]
    tags = [tag.strip() for tag in str(metadata.get("modelspec.tags", ""))[:_LONGEST_TAGS].split(",")]
    telling = {
        says: tag
        for tag in tags
        if 0 < len(tag) <= _LONGEST_NAME and (says := tell(tag, len(words_of(tag)) == 1).family)
    }
    if len(telling) == 1:
        tag = next(iter(telling.values()))
        sources.append(("its metadata modelspec.tags", tag, len(words_of(tag)) == 1))
    return [*sources, (f"the file name '{file_name}'", file_name, False)]


def _detected(where: str, text: str, says: NameSays, steps: int | None, name: NameSays) -> Detection:
    family = FAMILIES[says.family]
    sampler = says.sampler or name.sampler
    if sampler and sampler != family.sampler:
        return _custom(f"{where} {says.words} for the sampler {sampler}", steps, hints=True)
    keeps_cfg = family.name in ("hyper", "pcm") and _KEEPS_CFG.search(text) is not None
    unified = family.name == "hyper" and steps == 1 and (says.has_lora or name.has_lora)
    predicts_x0 = family.name == "lightning" and steps == 1
    return Detection(family, None if unified else steps, f"{where} {says.words}", keeps_cfg, unified, predicts_x0)


def _custom(why: str, steps: int | None, hints: bool) -> Detection:
    return Detection(FAMILIES["custom"], steps, f"{why}, so the host's settings are kept", hints=hints)


def check_one_step(detection: Detection, options: Options, name: str = "") -> None:
    """Refuse a file for a single step where no host can run it, or where nothing would be left to it.

    Args:
        name: of the distilled model, where that is not the chosen one.

    Raises:
        DiversityError: it predicts the clean image, or the base would make its step.
    """
    family, name = detection.family, name or options.distilled_model
    if detection.predicts_x0 and options.mode != "base":
        raise DiversityError(
            f"The distilled model '{name}' is SDXL-Lightning's experiment for one step, which predicts the clean image "
            "in place of the noise and cannot be sampled here; choose an SDXL-Lightning file for 2, 4 or 8 steps."
        )
    if not detection.is_for_one_step or options.mode != "hybrid" or options.switch_step == 0:
        return
    raise DiversityError(
        f"The distilled model '{name}' is a {family.label} model for one step, so switch_step "
        f"{options.switch_step} leaves it nothing; set mode to distilled or choose a file for 2 steps or more."
    )


def guidance_note(detection: Detection, options: Options, name: str = "") -> tuple[str, ...]:
    """A note where the file was trained with guidance and the user asks for none.

    Args:
        name: of the distilled model, where that is not the chosen one.
    """
    if not detection.keeps_cfg or options.distilled_cfg != 1:
        return ()
    name = name or options.distilled_model
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


def grid_for(detection: Detection, options: Options) -> Grid:
    """The timesteps that the option for the schedule asks for."""
    if options.schedule == "host" or detection.family.sampler is None:
        return "host"
    trains_elsewhere = options.schedule == "trained" and detection.grid == detection.family.grid
    return (detection.family.trained if trains_elsewhere else None) or detection.grid


def steps_for(detection: Detection, requested: int) -> int:
    """Step count of a run: what the file is made for, else the request's own where it suits, else the family's."""
    family, (fewest, most) = detection.family, detection.suits
    if family.grid == "host":
        return requested
    if detection.steps is not None and fewest <= detection.steps <= most:
        return detection.steps
    return requested if fewest <= requested <= most else family.steps
