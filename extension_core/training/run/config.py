"""What a user writes down of a training: one TOML file, read strictly.

Paths in it are taken from the file's own folder. What is left out has the default of its method's authors.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import tomli
from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator

from extension_core.errors import DiversityError
from extension_core.training.noise_schedule import Prediction
from extension_core.training.threshold import Edge, Kind

MethodName = Literal["pd", "lcm", "dmd2", "dp-dmd"]
StudentKind = Literal["lora", "unet"]

# Learning rates as published: LCM's of diffusers' example, DMD2's and DP-DMD's of their papers, PD's of its code.
_RATES: dict[tuple[str, str], float] = {
    ("lcm", "lora"): 1e-4,
    ("lcm", "unet"): 1e-6,
    ("pd", "lora"): 5e-5,
    ("pd", "unet"): 5e-5,
    ("dmd2", "lora"): 5e-5,
    ("dmd2", "unet"): 5e-7,
    ("dp-dmd", "lora"): 5e-5,
    ("dp-dmd", "unet"): 1e-5,
}


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class _Paths(_Section):
    """Paths that do not begin at the root begin at the file's folder."""

    @field_validator("*", mode="after")
    @classmethod
    def _from_the_files_folder(cls, value: object, info: ValidationInfo) -> object:
        folder = (info.context or {}).get("folder")
        return folder / value.expanduser() if isinstance(value, Path) and folder is not None else value


class BaseModelConfig(_Paths):
    """The checkpoint that is distilled."""

    checkpoint: Path
    description: Path | None = None
    """Its yaml, where it does not lie beside it."""
    prediction: Prediction | None = None
    """Where the file does not tell."""
    tokenizer: Path | None = None
    """A folder with vocab.json and merges.txt; without it CLIP's own, from the hub or its cache."""


class DataConfig(_Paths):
    """One of the first four."""

    pictures: Path | None = None
    """A folder, captions in .txt beside them."""
    shards: str | None = None
    """webdataset's, with braces."""
    parquet: str | None = None
    prompts: Path | None = None
    """A text, one prompt a line, for methods that need no pictures."""
    captions: Literal["required", "empty"] = "required"
    skip_bad: bool = False
    resolution: int = Field(512, ge=8)
    step: int = Field(64, ge=8)
    """Sides are multiples of it."""

    @model_validator(mode="after")
    def _one_source(self) -> DataConfig:
        given = [name for name in ("pictures", "shards", "parquet", "prompts") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"names {', '.join(given) or 'no source'}; give one of pictures, shards, parquet, prompts")
        return self


class StudentConfig(_Section):
    """What is trained and written."""

    kind: StudentKind = "lora"
    rank: int = Field(64, ge=1)
    alpha: float = Field(64.0, gt=0)


class MethodConfig(_Section):
    """How it is distilled."""

    name: MethodName
    steps: int = Field(4, ge=1, le=50)
    timesteps: list[int] | None = None
    """Where the student is sampled, falling from 999; without it where the method's authors do."""
    cfg: float | tuple[float, float] | None = None
    """The teacher's guidance; for LCM a range from which it is drawn."""
    ratio: int = Field(5, ge=1)
    """DMD2: updates of the fake score for one of the student."""
    adversary: bool = True
    """DMD2: the GAN beside the matching; needs pictures."""
    first_halving: int = Field(32, ge=1)
    """PD: steps of the first student on the way to `steps`, a power of two times them."""

    @model_validator(mode="after")
    def _fitting(self) -> MethodConfig:
        if self.timesteps is not None:
            _check_timesteps(self.timesteps, self.steps)
        halvings = self.first_halving / self.steps
        if self.name == "pd" and (halvings < 1 or halvings not in [2.0**power for power in range(11)]):
            raise ValueError(
                f"cannot come from {self.first_halving} to {self.steps} steps by halving; give first_halving "
                f"{self.steps}, {2 * self.steps}, {4 * self.steps} or so"
            )
        return self


def _check_timesteps(timesteps: list[int], steps: int) -> None:
    falling = all(above > below for above, below in pairwise(timesteps))
    if len(timesteps) != steps or not falling or not 0 <= timesteps[-1] <= timesteps[0] <= 999:
        raise ValueError(f"has timesteps {timesteps}; give {steps} of them, falling, between 999 and 0")


class PriorsConfig(_Section):
    """How often a state comes from each source."""

    forward: float = Field(0.0, ge=0)
    teacher: float = Field(0.0, ge=0)
    student: float = Field(0.0, ge=0)

    @model_validator(mode="after")
    def _some(self) -> PriorsConfig:
        if self.forward + self.teacher + self.student == 0:
            raise ValueError("has no prior above 0; give forward, teacher or student one")
        return self


class StatesConfig(_Section):
    """DDIL: where the noisy latents of an update come from."""

    priors: PriorsConfig | None = None
    """Without them the method's own: noised data, and the student's states for DMD2 and DP-DMD."""
    last_priors: PriorsConfig | None = None
    """Those of the last update, reached in a straight line."""
    teacher_steps: int = Field(32, ge=2, le=1000)
    rollout_rows: int = Field(8, ge=1)
    entries: int = Field(4096, ge=1)
    megabytes: float = Field(1024.0, gt=0)
    staleness: int = Field(100, ge=1)
    uses: int = Field(4, ge=1)


class ThresholdConfig(_Section):
    """Reflected diffusion: predicted images are kept in the range of data."""

    kind: Kind = "none"
    edge: Edge = "clip"
    quantile: float = Field(0.999, gt=0.5, le=1)
    student: bool = False
    """Whether the student's rollouts are thresholded too."""


class CourseConfig(_Section):
    """How long and on what."""

    updates: int = Field(2000, ge=1)
    batch: int = Field(4, ge=1)
    accumulate: int = Field(1, ge=1)
    learning_rate: float | None = Field(None, gt=0)
    warmup: int = Field(0, ge=0)
    clip: float = Field(10.0, gt=0)
    seed: int = Field(0, ge=0)
    precision: Literal["no", "fp16", "bf16"] = "no"
    optimizer: Literal["adamw", "adamw8bit"] = "adamw"
    gradient_checkpointing: bool = False
    compile: bool = False
    save_every: int = Field(200, ge=1)


class SamplesConfig(_Section):
    """Pictures made on the way, always from the same noise."""

    every: int = Field(0, ge=0)
    """0: none."""
    prompts: list[str] = Field(default_factory=list[str])
    seeds: int = Field(4, ge=2)


class Config(_Paths):
    """The whole file."""

    out: Path
    base: BaseModelConfig
    data: DataConfig
    method: MethodConfig
    student: StudentConfig = StudentConfig()
    states: StatesConfig = StatesConfig()
    threshold: ThresholdConfig = ThresholdConfig()
    course: CourseConfig = CourseConfig()
    samples: SamplesConfig = SamplesConfig()

    @model_validator(mode="after")
    def _fitting(self) -> Config:
        if self.data.prompts is not None and (wants := self.wants_pictures()):
            raise ValueError(f"gives prompts alone, but {wants} needs pictures; give data.pictures")
        return self

    @property
    def learning_rate(self) -> float:
        """The user's, or that of the method's authors."""
        return self.course.learning_rate or _RATES[self.method.name, self.student.kind]

    @property
    def priors(self) -> PriorsConfig:
        """The user's, or the method's own."""
        own = PriorsConfig(student=1) if self.method.name in ("dmd2", "dp-dmd") else PriorsConfig(forward=1)
        return self.states.priors or own

    def wants_pictures(self) -> str:
        """What cannot be done with prompts alone, "" if everything can."""
        if self.priors.forward or (self.states.last_priors is not None and self.states.last_priors.forward):
            return "a forward prior above 0"
        if self.method.name in ("dmd2", "dp-dmd") and self.method.adversary:
            return "method.adversary"
        return "a threshold" if self.threshold.kind != "none" else ""


def read_config(path: Path) -> Config:
    """Read a file.

    Raises:
        DiversityError: it cannot be read, or something in it is not what it has to be; the first of all faults.
    """
    try:
        told = tomli.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DiversityError(f"{path} cannot be read ({error.strerror}); name a TOML file.") from error
    except (tomli.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DiversityError(f"{path.name} is no TOML ({error}); mend that place.") from error
    return parsed(told, path)


def parsed(told: dict[str, Any], path: Path) -> Config:
    """What was told in a file of this path."""
    try:
        return Config.model_validate(told, context={"folder": path.resolve().parent})
    except ValidationError as error:
        raise DiversityError(_sentence(path.name, error)) from error


def _sentence(name: str, error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"] if not str(part).startswith(("function-", "tuple[", "float")))
    if first["type"] == "missing":
        return f"{name} has no {where}; add it."
    if first["type"] == "extra_forbidden":
        return f"{name} has {where}, which the trainer does not know; take it out or correct its name."
    if first["type"] == "value_error":
        return f"{name}: {where or 'it'} {first['ctx']['error']!s}."  # pyright: ignore[reportTypedDictNotRequiredAccess]
    found = first["input"]
    return f"{name}: {where} is {found!r}; {first['msg'][:1].lower()}{first['msg'][1:]}."
