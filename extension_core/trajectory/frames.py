"""What is known of a frame: where on the schedule it was made, by which model, and what it holds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

Kind = Literal["guided", "cond", "uncond"]
PhaseName = Literal["base", "distilled", ""]

KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True)
class Section:
    """A stretch of the strip: one sampling pass of one batch.

    Attributes:
        name: what the host does in it: "first pass", "hires pass" or "img2img".
        batch: index of the batch, from 0.
        batches: how many the request has.
    """

    name: str
    batch: int = 0
    batches: int = 1

    @property
    def title(self) -> str:
        """As the user reads it: "hires pass, batch 2 of 3"."""
        return f"{self.name}, batch {self.batch + 1} of {self.batches}" if self.batches > 1 else self.name


@dataclass(frozen=True)
class Position:
    """Where on the schedule a prediction was made.

    Attributes:
        step: index of the sampling step, from 0.
        steps: how many steps the section has.
        timestep: of the model's training, 0 to 999.
        sigma: noise level (variance-exploding, x = x0 + sigma * eps).
    """

    step: int
    steps: int
    timestep: float
    sigma: float


@dataclass(frozen=True)
class Tag:
    """What made a prediction.

    Attributes:
        phase: which of the two models, "" where a single one runs.
        cfg: guidance scale of the step.
        model: short name of the model, as the user knows it.
    """

    section: Section
    position: Position
    phase: PhaseName
    cfg: float
    model: str


@dataclass(frozen=True)
class FrameInfo:
    """A recorded frame without its values.

    Attributes:
        number: counts the frames of a generation from 0, those dropped since included; never given twice.
        images: how many images the frame shows.
        kinds: the predictions it holds: after guidance, conditional alone, unconditional alone.
        switched: whether this is the distilled model's first frame after the base's.
    """

    number: int
    tag: Tag
    images: int
    kinds: tuple[Kind, ...]
    switched: bool

    def as_json(self) -> dict[str, Any]:
        """For `json.dumps`; numbers that JSON has not (inf, nan) are None."""
        tag, position = self.tag, self.tag.position
        return {
            "number": self.number,
            "section": tag.section.title,
            "pass": tag.section.name,
            "batch": tag.section.batch,
            "step": position.step,
            "steps": position.steps,
            "timestep": _finite(position.timestep),
            "sigma": _finite(position.sigma),
            "phase": tag.phase,
            "cfg": _finite(tag.cfg),
            "model": tag.model,
            "images": self.images,
            "kinds": list(self.kinds),
            "switched": self.switched,
        }


def _finite(value: float) -> float | None:
    return round(value, 5) if math.isfinite(value) else None
