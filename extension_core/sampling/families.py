"""Families of distilled models: what each was trained with, and how to tell one from a file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Grid = Literal["lcm", "trailing", "host"]


@dataclass(frozen=True)
class Family:
    """How one family of distilled models wants to be sampled.

    Attributes:
        sampler: the host's name of the sampler that matches the training; None keeps the host's choice.
        grid: the timesteps of the training (`schedule.family_timesteps`); "host" keeps the host's schedule.
        steps: step count used when the request's own does not suit.
        suits: smallest and largest step count the family is made for.
    """

    name: str
    label: str
    sampler: str | None
    grid: Grid
    steps: int
    suits: tuple[int, int]


FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        Family("dmd2", "DMD2", "LCM", "lcm", 4, (1, 8)),
        Family("lightning", "SDXL-Lightning", "Euler", "trailing", 4, (2, 8)),
        Family("turbo", "Turbo", "Euler a", "trailing", 4, (1, 8)),
        Family("lcm", "LCM", "LCM", "lcm", 4, (2, 12)),
        Family("hyper", "Hyper-SD", "DDIM", "trailing", 4, (1, 12)),
        Family("custom", "custom", None, "host", 0, (1, 10_000)),
    )
}

# Most telling first: a merge is often called "turbo" as well as by the method that made it.
_NAME_PATTERNS: tuple[tuple[str, str], ...] = (
    ("dmd2", r"dmd[-_ ]?2?(?![a-z])"),
    ("lightning", r"lightning"),
    ("hyper", r"hyper[-_ ]?sd|(?<![a-z])hyper(?![a-z])"),
    ("lcm", r"(?<![a-z])lcm(?![a-z])"),
    ("turbo", r"turbo"),
)
_STEP_COUNT = re.compile(r"(?<!\d)(\d{1,2})[-_ ]?steps?(?![a-z])", re.IGNORECASE)
_METADATA_KEYS = (
    "modelspec.title",
    "modelspec.description",
    "modelspec.tags",
    "modelspec.architecture",
    "ss_output_name",
    "ss_training_comment",
    "distillation",
)


@dataclass(frozen=True)
class Detection:
    """What `auto` made of a file: the family, the step count the file is for (None if it does not say), and why."""

    family: Family
    steps: int | None
    why: str


def detect_family(file_name: str, metadata: Mapping[str, str]) -> Detection:
    """Tell the family from a file's name, then from its metadata; custom when neither says."""
    sources = [(f"the file name '{file_name}'", file_name)]
    sources += [(f"its metadata {key}", str(metadata[key])) for key in _METADATA_KEYS if metadata.get(key)]
    steps = next((int(found.group(1)) for _, text in sources if (found := _STEP_COUNT.search(text))), None)
    for where, text in sources:
        for name, pattern in _NAME_PATTERNS:
            if re.search(pattern, text, re.IGNORECASE):
                return Detection(FAMILIES[name], steps, f"{where} says {FAMILIES[name].label}")
    return Detection(
        FAMILIES["custom"], steps, "neither file name nor metadata names a family, so the host's settings are kept"
    )


def steps_for(detection: Detection, requested: int) -> int:
    """Step count of a run: what the file is made for, else the request's own where it suits, else the family's."""
    family = detection.family
    if family.grid == "host":
        return requested
    if detection.steps is not None and family.suits[0] <= detection.steps <= family.suits[1]:
        return detection.steps
    return requested if family.suits[0] <= requested <= family.suits[1] else family.steps
