"""What a generation returns on this host, and which of it is shown.

Pictures beside the generated ones come last and have no infotext. The traps are the host's: two lists are shared, that
of the signature's default among all results made without one, and a request's among its copies.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from modules import processed as both


class Processed(both.Processed):
    def __init__(
        self,
        p: Any,
        images_list: list[Any],
        seed: Any = -1,
        info: str = "",
        subseed: Any = None,
        all_prompts: list[str] | None = None,
        all_negative_prompts: list[str] | None = None,
        all_seeds: list[int] | None = None,
        all_subseeds: list[int] | None = None,
        index_of_first_image: int = 0,
        infotexts: list[str] | None = None,
        comments: str = "",
        extra_images_list: list[Any] = [],  # noqa: B006
    ) -> None:
        lists = (all_prompts, all_negative_prompts, all_seeds, all_subseeds)
        super().__init__(p, images_list, seed, info, subseed, *lists, index_of_first_image, infotexts, comments)
        self.extra_images = extra_images_list


def of_request(p: Any, images: list[Any], **described: Any) -> Processed:
    return Processed(p, images, extra_images_list=p.extra_result_images, **described)


def shown(processed: Processed) -> list[Any]:
    """The gallery's pictures, and those that the API returns."""
    return processed.images + processed.extra_images


def process_extra_images(processed: Processed) -> None:
    """For the API: arrays become pictures, and what is neither is left out."""
    extra = [Image.fromarray(x) if isinstance(x, np.ndarray) else x for x in processed.extra_images]
    processed.extra_images = [x for x in extra if isinstance(x, Image.Image)]


__all__ = ["Processed", "of_request", "process_extra_images", "shown"]
