"""What a request of this host has beyond what both have, what a generation returns, and which of it is shown.

Pictures beside the generated ones come last and have no infotext. The traps are the host's: two lists are shared, that
of the signature's default among all results made without one, and a request's among its copies.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from modules import processed as both


@dataclass(repr=False)
class RequestFields:
    distilled_cfg_scale: float = 3.5
    extra_result_images: list[Any] = field(init=False, default_factory=list)
    modified_noise: Any = field(init=False, default=None)


@dataclass(repr=False)
class HiresFields:
    """`hr_cfg` rules the hires pass; over the API it is 1 and `hr_additional_modules` is not set."""

    hr_additional_modules: list = None  # type: ignore[assignment,type-arg]
    hr_cfg: float = 1.0
    hr_distilled_cfg: float = 3.5


class Processed(both.Processed):
    def __init__(self, *args: Any, extra_images_list: list[Any] = [], **kwargs: Any) -> None:  # noqa: B006
        super().__init__(*args, **kwargs)
        self.extra_images = extra_images_list


def of_request(p: Any, images: list[Any], **described: Any) -> Processed:
    return Processed(p, images, extra_images_list=p.extra_result_images, **described)


def shown(processed: Processed) -> list[Any]:
    """The gallery's pictures, and those that the API returns."""
    return processed.images + processed.extra_images


def process_extra_images(processed: Processed) -> None:
    """For the API: arrays become pictures, and what is neither is left out."""
    kept = [Image.fromarray(x) if isinstance(x, np.ndarray) else x for x in processed.extra_images]
    processed.extra_images = [x for x in kept if isinstance(x, Image.Image)]
