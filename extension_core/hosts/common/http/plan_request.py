"""What a client asks of `POST /plan`. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from extension_core.errors import DiversityError, first_line
from extension_core.options.fields import Field, option, parse_value, unknown_key
from extension_core.options.hybrid import Options
from extension_core.options.positions import POSITIONS, Arguments
from extension_core.options.schema import Schema, arguments_schema, object_schema

# The hosts divide steps by it, so what is not quite 0 would make endless schedules.
_LEAST_STRENGTH = 0.01
_LONGEST_REFUSED = 60


@dataclass(frozen=True)
class Fields:
    """The fields of a txt2img or img2img request that a plan depends on; defaults are those of the hosts' API."""

    steps: int = option(50, "whole", "Steps", "Sampling steps.", minimum=1, maximum=1000)
    sampler_name: str = option("", "text", "Sampler", "The host's name of the sampler, as the host's API takes it.")
    sampler_index: str = option("Euler", "text", "Sampler", "The same, by its older name; sampler_name comes first.")
    scheduler: str = option("Automatic", "text", "Schedule type", "The host's name of the noise schedule.")
    width: int = option(512, "whole", "Width", "In pixels.", minimum=8, maximum=16384)
    height: int = option(512, "whole", "Height", "In pixels.", minimum=8, maximum=16384)
    batch_size: int = option(1, "whole", "Batch size", "Images made at once.", minimum=1, maximum=1024)
    denoising_strength: float = option(
        0.75, "number", "Denoising strength", "Of img2img and of the hires pass; 0, or 0.01 and more.", maximum=1
    )
    enable_hr: bool = option(False, "flag", "Hires. fix", "Whether a second, larger pass follows.")
    hr_upscaler: str = option("", "text", "Hires upscaler", "Empty: the host's own choice.")
    hr_second_pass_steps: int = option(0, "whole", "Hires steps", "0: as many as the first pass has.", maximum=1000)
    hr_sampler_name: str = option("", "text", "Hires sampler", "Empty: that of the first pass.")
    hr_scheduler: str = option("", "text", "Hires schedule type", "Empty: that of the first pass.")
    hr_checkpoint_name: str = option("", "text", "Hires checkpoint", "Another one is refused.")
    hr_scale: float = option(2.0, "number", "Upscale by", "How much larger it is.", minimum=0.1, maximum=16)
    hr_resize_x: int = option(0, "whole", "Resize width to", "Instead of the scale, 0: by the scale.", maximum=16384)
    hr_resize_y: int = option(0, "whole", "Resize height to", "Instead of the scale, 0: by the scale.", maximum=16384)
    refiner_checkpoint: str = option("", "text", "Refiner", "The host's own; one is refused.")
    prompt: str = option("", "text", "Prompt", "For warnings alone: the LoRAs in it are looked at.")
    negative_prompt: str = option("", "text", "Negative prompt", "For warnings alone: whether it has any effect.")


REQUEST_FIELDS: tuple[Field, ...] = tuple(Field(name=item.name, **item.metadata) for item in fields(Fields))
_BY_NAME = {spec.name: spec for spec in REQUEST_FIELDS}
_KEYS = ("args", "request", "img2img")


@dataclass(frozen=True)
class PlanRequest:
    """One plan that is asked for.

    Attributes:
        request: fields of the host's request, all that it has.
    """

    options: Options
    request: Mapping[str, Any]
    img2img: bool

    @classmethod
    def read(cls, body: bytes) -> PlanRequest:
        """Read the body of a request.

        Raises:
            DiversityError: it is not JSON, a key is unknown or a value is not allowed.
        """
        try:
            body_json = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise DiversityError(
                f"The body is not JSON ({first_line(error):.200}); send an object with the keys {', '.join(_KEYS)}."
            ) from error
        try:
            return cls._of(body_json)
        except RecursionError:
            raise DiversityError("The body is nested too deeply; args holds one dict, or plain values.") from None

    @classmethod
    def _of(cls, body_json: Any) -> PlanRequest:
        if not isinstance(body_json, Mapping):
            raise DiversityError(
                f"The body is {_shown(body_json)}; it must be an object with the keys {', '.join(_KEYS)}."
            )
        for key in body_json:
            if key not in _KEYS:
                raise unknown_key(key, _KEYS)
        img2img = body_json.get("img2img", False)
        if not isinstance(img2img, bool):
            raise DiversityError(f"img2img of the plan is {_shown(img2img)}; it must be true or false.")
        options = _options(body_json.get("args", []))
        return cls(options, _request(body_json.get("request", {}), img2img), img2img)


def _options(args: Any) -> Options:
    if not isinstance(args, Sequence) or isinstance(args, str):
        raise DiversityError(
            f"args of the plan is {_shown(args)}; it must be a list, of one dict or of values by position."
        )
    options = Arguments.read(args).options
    if not options.enabled:
        raise DiversityError(
            "Diversity Distillation is not enabled by these args, so it has no plan; send one dict, or true as the "
            "first value."
        )
    return options


def _request(given: Any, img2img: bool) -> dict[str, Any]:
    if not isinstance(given, Mapping):
        raise DiversityError(f"request of the plan is {_shown(given)}; it must be a dict of the request's fields.")
    for key in given:
        if key not in _BY_NAME:
            raise unknown_key(f"request.{key}", [f"request.{known}" for known in _BY_NAME])
        if img2img and _of_txt2img(key):
            raise DiversityError(f"request.{key} is a field of txt2img alone; leave it out, or set img2img to false.")
    given = {key: value for key, value in given.items() if value is not None}
    read = {**asdict(Fields()), **{key: parse_value(_BY_NAME[key], value) for key, value in given.items()}}
    if img2img:
        read = {key: value for key, value in read.items() if not _of_txt2img(key)}
    strength = read["denoising_strength"]
    if 0 < strength < _LEAST_STRENGTH:
        raise DiversityError(
            f"denoising_strength of the plan is {strength:g}; it must be 0, or a number from {_LEAST_STRENGTH:g} to 1."
        )
    return read


def _of_txt2img(key: str) -> bool:
    return key == "enable_hr" or key.startswith("hr_")


def _shown(value: Any) -> str:
    return f"{value!r:.{_LONGEST_REFUSED}}"


def body_schema() -> Schema:
    """The schema of the body."""
    arguments = {key: value for key, value in arguments_schema().items() if key not in ("$schema", "positions")}
    one_dict = {"type": "array", "items": arguments, "minItems": 1, "maxItems": 1}
    by_position = {"type": "array", "items": {}, "minItems": 1, "maxItems": len(POSITIONS)}
    return {
        "type": "object",
        "properties": {
            "args": {
                "anyOf": [one_dict, by_position],
                "description": "As in `alwayson_scripts`: one dict, or values by position.",
            },
            "request": {
                **object_schema(REQUEST_FIELDS, asdict(Fields())),
                "description": "What the plan depends on of the request to the host.",
            },
            "img2img": {"type": "boolean", "default": False, "description": "Whether it would be sent to img2img."},
        },
        "required": ["args"],
        "additionalProperties": False,
    }
