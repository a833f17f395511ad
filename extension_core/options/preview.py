"""Every argument of the DT-preview, declared once: what is recorded of a generation, and what becomes of it.

Nothing here changes an image, so nothing of it is in the infotext.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from extension_core.options.fields import Field, option, parse_value, unknown_key


@dataclass(frozen=True)
class PreviewOptions:
    """What one request asks of the instrument. Over the API these are the keys of `dt`."""

    preview: bool = option(
        False,
        "flag",
        "DT-preview",
        "Record what the model believes the image will be after each step, and show it while it is made. Works for "
        "any generation, with Diversity Distillation or without.",
    )
    every: int = option(
        1,
        "whole",
        "Keep every nth frame",
        "Of long runs keep only some frames; the first, the switch and the last are kept always.",
        minimum=1,
        maximum=100,
    )
    timesteps: tuple[float, ...] = option(
        (),
        "numbers",
        "Keep frames at timesteps",
        "Instead of every nth: the first frame at or below each of these noise levels, e.g. 900, 700, 500.",
        maximum=1000,
    )
    decoder: str = option(
        "auto",
        "choice",
        "Decoder",
        "How small pictures of frames are made. TAESD is sharp and needs the host's file for it; approximate colours "
        "cost nothing. Auto: TAESD if the host has it. Full: the VAE itself, slow.",
        choices=("auto", "taesd", "approximate", "full"),
    )
    save: bool = option(
        False,
        "flag",
        "Save DT strip",
        "Write the strip as a PNG with labels and infotext, and as an animated WebP, beside the image.",
    )
    gallery: bool = option(
        False,
        "flag",
        "Strip in the gallery",
        "Show the strip as the last image of the gallery.",
    )
    page: str = option(
        "",
        "text",
        "Page",
        "Set by the page itself: which page may see the frames.",
    )
    returned: bool = option(
        False,
        "flag",
        "Return",
        "Send the frames among the response's images; info says which is which.",
        key="return",
        api_only=True,
    )
    frames: tuple[int, ...] | None = option(
        None,
        "frames",
        "Frames",
        "Which frames to send: all, or a list of their numbers (negative ones count from the last); the strip alone "
        "if the list is empty.",
        api_only=True,
    )
    id: str = option(
        "",
        "text",
        "Id",
        "A secret of your own (24 random bytes in URL-safe base64) under which frames can be fetched while they are "
        "made; one is made and told in info otherwise.",
        api_only=True,
    )
    compare: bool = option(
        False,
        "flag",
        "Compare",
        "Make the same seeds by the base alone and by the distilled model alone, too.",
        api_only=True,
    )

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> PreviewOptions:
        """Build from a dict by the API's keys, in which any may be left out.

        Raises:
            DiversityError: a key is unknown or a value is not allowed.
        """
        for key in values:
            if key not in BY_KEY:
                raise unknown_key(f"dt.{key}", [f"dt.{known}" for known in BY_KEY])
        return replace(cls(), **{BY_KEY[key].name: parse_value(BY_KEY[key], value) for key, value in values.items()})


PREVIEW_FIELDS: tuple[Field, ...] = tuple(Field(name=item.name, **item.metadata) for item in fields(PreviewOptions))
BY_KEY: dict[str, Field] = {spec.api_key: spec for spec in PREVIEW_FIELDS}
PAGE_FIELDS: tuple[Field, ...] = tuple(spec for spec in PREVIEW_FIELDS if not spec.api_only)
