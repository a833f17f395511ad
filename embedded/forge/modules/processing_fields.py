"""Fields of a request that this host has and the other flavour has not."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(repr=False)
class RequestFields:
    distilled_cfg_scale: float = 3.5

    extra_result_images: list[Any] = field(init=False, default_factory=list)
    latents_after_sampling: list[Any] = field(init=False, default_factory=list)
    pixels_after_sampling: list[Any] = field(init=False, default_factory=list)
    modified_noise: Any = field(init=False, default=None)

    def clear_prompt_cache(self) -> None:
        for name in ("cached_c", "cached_uc"):
            for owner in (self, _owner_of_caches()):
                setattr(owner, name, [None, None, None])


@dataclass(repr=False)
class HiresFields:
    """`hr_cfg` rules the hires pass; over the API it is 1 and `hr_additional_modules` is not set."""

    hr_additional_modules: list = None  # type: ignore[assignment,type-arg]
    hr_cfg: float = 1.0
    hr_distilled_cfg: float = 3.5


def _owner_of_caches() -> Any:
    from modules.processing_base import StableDiffusionProcessing

    return StableDiffusionProcessing
