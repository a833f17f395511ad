"""Who makes which phase: the checkpoint that the host has loaded, or the second model beside it. Pure.

A phase (base, distilled) is a part of a request; a resident (loaded, second) is a model in memory. Everything that
plans, guides or tells goes by phases, everything that holds models by residents, and this is the one place between.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from extension_core.sampling.families import Detection
from extension_core.sampling.routing import Phase


class Resident(Enum):
    """The two models in memory."""

    LOADED = "loaded"
    SECOND = "second"


@dataclass(frozen=True)
class Side:
    """One model of a request by what its file tells of it, whatever the user has said.

    Attributes:
        name: of its file, as users know it.
    """

    name: str
    detection: Detection
    is_lora: bool = False


@dataclass(frozen=True)
class Roles:
    """Attributes: loaded: the phase that the loaded checkpoint makes."""

    loaded: Phase = Phase.BASE

    @property
    def second(self) -> Phase:
        """The phase that the second model makes."""
        return Phase.DISTILLED if self.loaded is Phase.BASE else Phase.BASE

    @property
    def turned(self) -> bool:
        """Whether the loaded checkpoint is the distilled model."""
        return self.loaded is Phase.DISTILLED

    def resident(self, phase: Phase) -> Resident:
        """The model that makes a phase."""
        return Resident.LOADED if phase is self.loaded else Resident.SECOND

    def read_by_second(self, text_encoder: str) -> tuple[Phase, ...]:
        """Phases whose prompts the second model's own text encoder reads, if it has one.

        Args:
            text_encoder: the option of that name, which is about the distilled model's reading.
        """
        shares_the_bases = self.turned and text_encoder == "base"
        return (self.second, self.loaded) if shares_the_bases else (self.second,)


def roles_of(loaded_is: str) -> Roles:
    """As the option of that name says, once it is settled."""
    return Roles(Phase.DISTILLED if loaded_is == Phase.DISTILLED.value else Phase.BASE)


def settled(loaded_is: str, family: str, loaded: Detection | None, chosen: Side | None) -> str:
    """The option `loaded_is` without `auto`: which turns the roles round where both files leave no doubt.

    Args:
        family: the option of that name; another family than the loaded checkpoint's speaks of the chosen file.
        loaded, chosen: None where that is not known.
    """
    if loaded_is != "auto":
        return loaded_is
    if loaded is None or chosen is None or not is_few_step(loaded):
        return Phase.BASE.value
    about_loaded = family in ("auto", loaded.family.name)
    return (Phase.DISTILLED if about_loaded and tells_no_few_steps(chosen) else Phase.BASE).value


def is_few_step(found: Detection) -> bool:
    """Whether a file is certainly a few-step model."""
    return found.family.sampler is not None


def tells_no_few_steps(side: Side) -> bool:
    """Whether it is certainly none: a whole model of which neither name nor metadata hints at it."""
    found = side.detection
    return not (side.is_lora or is_few_step(found) or found.steps or found.hints)


def turned_note(loaded: Side, chosen: Side) -> str:
    """What is to be said where `auto` has turned the roles round."""
    return (
        f"The loaded checkpoint '{loaded.name}' is {loaded.detection.family.label} ({loaded.detection.why}), and "
        f"'{chosen.name}' is no few-step model by its name, so '{chosen.name}' makes the base's steps and the loaded "
        "checkpoint finishes the image; set Loaded checkpoint is to base to have it the other way round."
    )
