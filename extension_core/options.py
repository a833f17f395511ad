"""Every argument of the extension, declared once.

The panel, the API dict, the positional arguments, the infotext and the README table are derived from `FIELDS`. Order
is frozen: the hosts lay API arguments over the script's components by position, so fields are only ever appended.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

from extension_core.errors import DiversityError

Kind = Literal["flag", "model", "choice", "whole", "whole_or_null", "number", "sampler"]

INFOTEXT_PREFIX = "DD"


@dataclass(frozen=True)
class Field:
    """What the panel, the API and the infotext need to know about one argument."""

    name: str
    kind: Kind
    label: str
    tooltip: str
    choices: tuple[str, ...] = ()
    minimum: float = 0.0
    maximum: float = math.inf

    @property
    def infotext_key(self) -> str:
        """Key of this argument in the host's infotext, e.g. `DD switch step`."""
        words = self.name.replace("_", " ").replace("cfg", "CFG").replace("lora", "LoRA")
        return f"{INFOTEXT_PREFIX} {words}"


def _option(default: Any, kind: Kind, label: str, tooltip: str, **limits: Any) -> Any:
    return field(default=default, metadata={"kind": kind, "label": label, "tooltip": tooltip, **limits})


@dataclass(frozen=True)
class Options:
    """One request's settings. Defaults reproduce the paper (section 5: k = 1, no guidance, one schedule)."""

    enabled: bool = _option(
        False,
        "flag",
        "Diversity Distillation",
        "Run the loaded checkpoint for the first step and the distilled model for the rest.",
    )
    distilled_model: str = _option(
        "",
        "model",
        "Distilled model",
        "The few-step model (DMD2, Lightning, Turbo, LCM, ...) that finishes the image: a checkpoint, a U-Net or a "
        "LoRA of the loaded checkpoint's architecture.",
    )
    family: str = _option(
        "auto",
        "choice",
        "Family",
        "How the distilled model was trained. It sets steps, sampler and schedule. Auto reads the file's name and "
        "metadata; custom keeps the sampler, steps and schedule chosen above.",
        choices=("auto", "dmd2", "lightning", "turbo", "lcm", "hyper", "pcm", "custom"),
    )
    mode: str = _option(
        "hybrid",
        "choice",
        "Mode",
        "Hybrid: base first, then distilled. Distilled: only the distilled model. Base: only the loaded checkpoint. "
        "Skip first: no base at all, the distilled model starts at the switch step from pure noise.",
        choices=("hybrid", "distilled", "base", "skip_first"),
    )
    switch_step: int = _option(
        1,
        "whole",
        "Switch step k",
        "How many of the distilled model's steps the base replaces. More gives more variety and follows the prompt a "
        "little less.",
        maximum=150,
    )
    base_steps: int | None = _option(
        None,
        "whole_or_null",
        "Base steps N",
        "How many steps the base takes down to the same noise level; same as k unless you want them finer.",
        minimum=1,
        maximum=150,
    )
    base_cfg: float = _option(
        1.0,
        "number",
        "Base CFG",
        "Guidance of the base's steps. 1 is no guidance (half the work); higher follows the prompt more and varies "
        "less.",
        maximum=100,
    )
    distilled_cfg: float = _option(
        1.0,
        "number",
        "Distilled CFG",
        "Guidance of the distilled model's steps. Almost all distilled models want 1.",
        maximum=100,
    )
    base_sampler: str = _option(
        "same",
        "sampler",
        "Base sampler",
        "Sampler of the base's steps: the same as the distilled model's (as in the paper), or another of the host's.",
    )
    schedule: str = _option(
        "family",
        "choice",
        "Schedule",
        "Noise levels of the steps: those the family was trained on, or the host's schedule type.",
        choices=("family", "host"),
    )
    text_encoder: str = _option(
        "auto",
        "choice",
        "Text encoder",
        "Whose reading of the prompt the distilled model gets. Auto: the base's if both are the same or the second "
        "file has none, its own if they differ or the LoRA changes it.",
        choices=("auto", "base", "own"),
    )
    passes: str = _option(
        "first",
        "choice",
        "Passes",
        "Where the base takes part: the first pass, the hires pass, or both. The other pass runs on the distilled "
        "model alone.",
        choices=("first", "hires", "both"),
    )
    lora_strength: float = _option(
        1.0,
        "number",
        "LoRA strength",
        "Weight of a LoRA that was chosen as distilled model; no effect on checkpoints and U-Nets. Almost all want 1.",
        maximum=10,
    )
    lora_targets: str = _option(
        "both",
        "choice",
        "Prompt's LoRAs on",
        "Which model the LoRAs in the prompt change: both (what steers the base steers the distilled model), the base "
        "alone, or the distilled model alone.",
        choices=("both", "base", "distilled"),
    )
    base_lora_factor: float = _option(
        1.0,
        "number",
        "Base LoRAs ×",
        "Weights of the prompt's LoRAs are multiplied by this for the base's steps.",
        maximum=10,
    )
    distilled_lora_factor: float = _option(
        1.0,
        "number",
        "Distilled LoRAs ×",
        "Weights of the prompt's LoRAs are multiplied by this for the distilled model's steps.",
        maximum=10,
    )
    carry_from: str = _option(
        "",
        "model",
        "Carry style: origin",
        "The model that the loaded checkpoint was fine-tuned from. What the fine-tune changed is added to the "
        "distilled model: distilled + s (loaded - origin). None adds nothing.",
    )
    carry_strength: float = _option(
        1.0,
        "number",
        "Carry style: s",
        "How much of the fine-tune the distilled model gets; 1 is all of it.",
        maximum=4,
    )
    residency: str = _option(
        "auto",
        "choice",
        "Memory",
        "Where the two models live. Both: on the graphics card. RAM: the idle one waits in RAM. 8bit: the base's steps "
        "are computed from a copy in 8 bits, which changes them a little. Auto: both if they fit, else RAM.",
        choices=("auto", "both", "ram", "8bit"),
    )

    @classmethod
    def from_args(cls, args: Sequence[Any]) -> Options:
        """Read a script's arguments as the hosts pass them: one dict first (API), or values by position.

        Raises:
            DiversityError: a key is unknown or a value is not allowed.
        """
        if args and isinstance(args[0], Mapping):
            return cls.from_mapping({"enabled": True, **args[0]})
        if len(args) > len(FIELDS):
            raise DiversityError(
                f"Diversity Distillation takes at most {len(FIELDS)} positional arguments but got {len(args)}; "
                "send one dict instead."
            )
        return cls.from_mapping({spec.name: _from_page(spec, value) for spec, value in zip(FIELDS, args, strict=False)})

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Options:
        """Build from a dict in which any key may be left out.

        Raises:
            DiversityError: a key is unknown (the nearest valid one is named) or a value is not allowed.
        """
        for key in values:
            if key not in BY_NAME:
                raise DiversityError(_unknown_key(str(key)))
        return replace(cls(), **{name: parse_value(BY_NAME[name], value) for name, value in values.items()})

    def as_mapping(self) -> dict[str, Any]:
        """All values by name, JSON-ready."""
        return {spec.name: getattr(self, spec.name) for spec in FIELDS}


FIELDS: tuple[Field, ...] = tuple(Field(name=item.name, **item.metadata) for item in fields(Options))
BY_NAME: dict[str, Field] = {spec.name: spec for spec in FIELDS}


def _from_page(spec: Field, value: Any) -> Any:
    """A slider cannot be empty, so on the page 0 stands for "same as k"."""
    return None if spec.kind == "whole_or_null" and value == 0 else value


def _unknown_key(key: str) -> str:
    nearest = difflib.get_close_matches(key, BY_NAME, n=1, cutoff=0.0)[0]
    return f"Diversity Distillation does not know the argument '{key}'; did you mean '{nearest}'?"


def parse_value(spec: Field, value: Any) -> Any:
    """Check one value against its field and return it in its type; strings from infotext or the page are accepted.

    Raises:
        DiversityError: names the argument, the value found and what is allowed.
    """
    if spec.kind == "flag":
        return _parse_flag(spec, value)
    if spec.kind == "choice":
        return _parse_choice(spec, value)
    if spec.kind in ("model", "sampler"):
        return _parse_name(spec, value)
    if spec.kind == "whole_or_null" and value in (None, "", "same", "None"):
        return None
    number = _parse_number(spec, value)
    if spec.kind in ("whole", "whole_or_null"):
        if not number.is_integer():
            raise _refusal(spec, value, "a whole number")
        return int(number)
    return number


def _parse_flag(spec: Field, value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, int) and value in (0, 1):
        return bool(value)
    if isinstance(value, str) and value.strip().lower() in ("true", "false"):
        return value.strip().lower() == "true"
    raise _refusal(spec, value, "true or false")


def _parse_choice(spec: Field, value: Any) -> str:
    if isinstance(value, str) and value.strip().lower().replace(" ", "_") in spec.choices:
        return value.strip().lower().replace(" ", "_")
    raise _refusal(spec, value, "one of " + ", ".join(spec.choices))


def _parse_name(spec: Field, value: Any) -> str:
    if value is None or (isinstance(value, str) and value.strip().lower() in ("", "none")):
        return "same" if spec.kind == "sampler" else ""
    if isinstance(value, str):
        return value.strip()
    raise _refusal(spec, value, "a name")


def _parse_number(spec: Field, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise _refusal(spec, value, _range(spec))
    try:
        number = float(value)
    except (ValueError, OverflowError):
        raise _refusal(spec, value, _range(spec)) from None
    if not (math.isfinite(number) and spec.minimum <= number <= spec.maximum):
        raise _refusal(spec, value, _range(spec))
    return number


def _range(spec: Field) -> str:
    what = "a number" if spec.kind == "number" else "a whole number"
    return f"{what} from {spec.minimum:g} to {spec.maximum:g}"


def _refusal(spec: Field, value: Any, allowed: str) -> DiversityError:
    return DiversityError(f"{spec.name} of Diversity Distillation is {value!r:.80}; it must be {allowed}.")
