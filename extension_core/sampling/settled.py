"""As what a distilled model has run: what an infotext tells of it, and what makes a file run so again. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from extension_core.sampling.families import Detection

_TEXT = re.compile(r"(?P<family>\w+)(?: for (?P<steps>\d{1,4}) steps?)?")


@dataclass(frozen=True)
class Settled:
    """A file's family and step count, by its name, its metadata or the user's word.

    Attributes:
        steps: that the file is made for, None if nobody says.
    """

    family: str
    steps: int | None

    @classmethod
    def of(cls, detection: Detection) -> Settled:
        """As a request has it."""
        return cls(detection.family.name, detection.steps)

    @classmethod
    def read(cls, text: str) -> Settled | None:
        """From an infotext, None for what is none of ours."""
        found = _TEXT.fullmatch(text)
        return cls(found["family"], int(found["steps"]) if found["steps"] else None) if found else None

    def __str__(self) -> str:
        if self.steps is None:
            return self.family
        return f"{self.family} for {self.steps} step{'s' if self.steps > 1 else ''}"


def to_run_again(then: Settled, now: Detection, steps: int | None) -> dict[str, Any]:
    """Options that `auto` needs beside it so that a file, found under whatever name, runs as it did.

    Args:
        steps: that were run, None if not known.
    """
    options: dict[str, Any] = {}
    if then.family != now.family.name:
        options["family"] = then.family
    if then.family == "custom" or then.steps == now.steps:
        return options
    if then.steps == 1:  # one step has noise levels of its own
        options["file_steps"] = 1
    elif now.steps is not None and steps is not None:
        options["file_steps"] = steps
    return options
