"""What a request of this host has beyond what both have, and what a generation returns.

Pictures beside the generated ones come last and have no infotext. The traps are the host's: two lists are shared, that
of the signature's default among all results made without one, and a request's among its copies.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from modules import processed


@dataclass(repr=False)
class RequestFields:
    distilled_cfg_scale: float = 3.5
    extra_result_images: list[Any] = field(init=False, default_factory=list)


@dataclass(repr=False)
class HiresFields:
    """`hr_cfg` rules the hires pass; over the API it is 1 and `hr_additional_modules` is not set."""

    hr_additional_modules: list = None  # type: ignore[assignment,type-arg]
    hr_cfg: float = 1.0
    hr_distilled_cfg: float = 3.5


class Processed(processed.Processed):
    def __init__(self, *args: Any, extra_images_list: list[Any] = [], **kwargs: Any) -> None:  # noqa: B006
        super().__init__(*args, **kwargs)
        self.extra_images = extra_images_list
