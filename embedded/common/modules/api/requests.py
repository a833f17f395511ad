"""Requests of the API: the fields of the processing classes and a few beside; a wrong type is refused at once."""

from __future__ import annotations

import dataclasses
from typing import Any, Optional, get_args, get_type_hints

from pydantic import BaseModel, create_model

from modules import processing

_BESIDE: dict[str, tuple[Any, Any]] = {
    "script_name": (Optional[str], None),
    "script_args": (list, []),
    "alwayson_scripts": (dict, {}),
    "infotext": (Optional[str], None),
    "sampler_index": (Optional[str], None),
    "send_images": (bool, True),
    "save_images": (bool, False),
}
_OF_PICTURES: dict[str, tuple[Any, Any]] = {
    "init_images": (Optional[list[str]], None),
    "include_init_images": (bool, False),
    "mask": (Optional[str], None),
    "denoising_strength": (Optional[float], 0.75),
}
_NOT_ASKED = {"sd_model", "outpath_samples", "outpath_grids", "extra_generation_params"}
_NOT_PASSED = {*_BESIDE, "include_init_images"}


def _fields(kind: Any) -> dict[str, tuple[Any, Any]]:
    """All optional, with the base class's defaults as on the hosts: `denoising_strength` of txt2img is None."""
    hints = get_type_hints(kind)
    known = [*dataclasses.fields(kind), *dataclasses.fields(processing.StableDiffusionProcessing)]
    given = {one.name: one for one in known if one.init and one.name not in _NOT_ASKED}
    defaults = {name: None if isinstance(one.default, property) else one.default for name, one in given.items()}
    return {name: (Optional[hints[name]], default) for name, default in defaults.items()}


KINDS = {"txt2img": processing.StableDiffusionProcessingTxt2Img, "img2img": processing.StableDiffusionProcessingImg2Img}
TextToImage: Any = create_model("TextToImage", **{**_fields(KINDS["txt2img"]), **_BESIDE})  # type: ignore[call-overload]
ImageToImage: Any = create_model("ImageToImage", **{**_fields(KINDS["img2img"]), **_BESIDE, **_OF_PICTURES})  # type: ignore[call-overload]


class Picture(BaseModel):
    image: str


def of_processing(request: Any) -> dict[str, Any]:
    """What the processing object is made with."""
    fields = {name: value for name, value in dict(request).items() if name not in _NOT_PASSED}
    return {**fields, "do_not_save_samples": not request.save_images, "do_not_save_grid": not request.save_images}


def kind_of(request: Any, field: str | None) -> type | None:
    """The type of a request's field; None for one that it has not."""
    hint = type(request).__annotations__.get(field or "")
    return next((kind for kind in get_args(hint) if kind is not type(None)), None)
