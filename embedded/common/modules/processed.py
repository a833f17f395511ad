"""What a generation returns, and the infotext that describes each picture."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from modules import errors, flavour, infotext_utils, model_handling, sd_samplers_common
from modules.shared import opts, state

_OF_REQUEST = (
    "subseed_strength", "width", "height", "sampler_name", "cfg_scale", "steps", "batch_size", "restore_faces",
    "sd_model_name", "sd_model_hash", "sd_vae_name", "sd_vae_hash",
    "extra_generation_params", "styles", "is_using_inpainting_conditioning", "denoising_strength",
)  # fmt: skip
_OWN = (
    "all_prompts",
    "all_negative_prompts",
    "all_seeds",
    "all_subseeds",
    "prompt",
    "negative_prompt",
    "seed",
    "subseed",
)
_TOLD = (*_OWN, *_OF_REQUEST, "index_of_first_image", "infotexts", "job_timestamp", "clip_skip", "version")
"""What `js` tells, which over the API is `info`."""


def program_version() -> str:
    return flavour.VERSION


def _single(value: Any) -> Any:
    return value[0] if isinstance(value, list) else value


def shown(processed: Processed) -> list[Any]:
    """The gallery's pictures, and those that the API returns."""
    return [*processed.images, *getattr(processed, "extra_images", [])]


class Processed:
    all_prompts: list[str]
    all_negative_prompts: list[str]
    all_seeds: list[int]
    all_subseeds: list[int]
    batch_size: int

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
    ) -> None:
        del comments
        for name in _OF_REQUEST:
            setattr(self, name, getattr(p, name, None))
        self.images, self.info, self.index_of_first_image = images_list, info, index_of_first_image
        self.infotexts = infotexts or [info] * len(images_list)
        self.prompt, self.negative_prompt = _single(p.prompt), _single(p.negative_prompt)
        self.seed, self.subseed = int(_single(seed)), -1 if subseed is None else int(_single(subseed))
        self.all_prompts = all_prompts or p.all_prompts or [self.prompt]
        self.all_negative_prompts = all_negative_prompts or p.all_negative_prompts or [self.negative_prompt]
        self.all_seeds = all_seeds or p.all_seeds or [self.seed]
        self.all_subseeds = all_subseeds or p.all_subseeds or [self.subseed]
        self.comments = "".join(f"{line}\n" for line in p.comments)
        self.clip_skip, self.version = opts.CLIP_stop_at_last_layers, program_version()
        self.job_timestamp = state.job_timestamp

    def js(self) -> str:
        """As JSON; the prompts are those of the first picture, and what JSON has no words for is null."""
        told = {name: getattr(self, name) for name in _TOLD}
        told |= {"prompt": self.all_prompts[0], "negative_prompt": self.all_negative_prompts[0]}
        return json.dumps(told, default=lambda _value: None)

    def infotext(self, p: Any, index: int) -> str:
        return create_infotext(p, self.all_prompts, self.all_seeds, self.all_subseeds, index=index)


class _Picture(NamedTuple):
    """What an infotext is written of."""

    p: Any
    index: int
    prompt: str
    negative_prompt: str
    seed: int
    subseed: int


def _model_entries(p: Any) -> dict[str, Any]:
    """Each where its setting asks for it."""
    parts = {"Model hash": "model_hash", "Model": "model_name", "VAE hash": "vae_hash", "VAE": "vae_name"}
    return {label: getattr(p, f"sd_{part}") for label, part in parts.items() if getattr(opts, f"add_{part}_to_info")}


def _variation_entries(picture: _Picture) -> dict[str, Any]:
    p = picture.p
    entries = {"Variation seed": picture.subseed, "Variation seed strength": p.subseed_strength}
    return entries if p.subseed_strength else {}


def _setting_entries(p: Any) -> dict[str, Any]:
    """Settings that change pictures, where they are not as they come."""
    skipped = getattr(p, "clip_skip", opts.CLIP_stop_at_last_layers)
    uses_delta = sd_samplers_common.is_sampler_using_eta_noise_seed_delta(p)
    weight = getattr(p, "inpainting_mask_weight", opts.inpainting_mask_weight)
    return {
        "Conditional mask weight": weight if p.is_using_inpainting_conditioning else None,
        "Clip skip": skipped if skipped > 1 else None,
        "ENSD": opts.eta_noise_seed_delta or None if uses_delta else None,
        "RNG": opts.randn_source if opts.randn_source != "GPU" else None,
        "Tiling": "True" if p.tiling else None,
    }


_FIRST = {"Steps": "steps", "Sampler": "sampler_name", "Schedule type": "scheduler", "CFG scale": "cfg_scale"}


def _entries(picture: _Picture) -> dict[str, Any]:
    """The infotext's line, in its order; clients parse the names. The request's own notes come before the version."""
    p, noted = picture.p, picture.p.extra_generation_params
    entries = {label: getattr(p, name) for label, name in _FIRST.items()}
    entries |= {"Seed": picture.seed, "Size": f"{p.width}x{p.height}"}
    entries |= _model_entries(p) | _variation_entries(picture)
    entries |= {"Denoising strength": noted.get("Denoising strength")} | _setting_entries(p) | noted
    version = {"Version": program_version()} if opts.add_version_to_infotext else {}
    return entries | version | model_handling.last_entries()


def _settled(entries: dict[str, Any], index: int, ask: Callable[[Callable[..., Any]], Any]) -> dict[str, Any]:
    """With this picture's values in the place of lists and functions. What fails is reported and left out."""
    settled: dict[str, Any] = {}
    for name, value in entries.items():
        try:
            settled[name] = value[index] if isinstance(value, list) else ask(value) if callable(value) else value
        except Exception:
            errors.report(f"The infotext does without {name!r}, which could not be made", exc_info=True)
    return settled


def create_infotext(
    p: Any,
    all_prompts: Sequence[str],
    all_seeds: Sequence[int],
    all_subseeds: Sequence[int],
    comments: Any = None,
    iteration: int = 0,
    position_in_batch: int = 0,
    use_main_prompt: bool = False,
    index: int | None = None,
    all_negative_prompts: Sequence[str] | None = None,
) -> str:
    """Prompt, negative prompt, and one line of "Name: value". A value of `p.extra_generation_params` may be a list with
    one entry a picture, or a function that is called with these arguments by name.
    """
    given = locals()
    negatives = all_negative_prompts or p.all_negative_prompts
    index = iteration * p.batch_size + position_in_batch if index is None else index
    if use_main_prompt:
        picture = _Picture(p, 0, p.main_prompt, p.main_negative_prompt, p.all_seeds[0], p.all_subseeds[0])
    else:
        picture = _Picture(p, index, all_prompts[index], negatives[index], all_seeds[index], all_subseeds[index])
    entries = _entries(picture)
    given |= {"index": picture.index, "all_negative_prompts": negatives, "generation_params": entries}
    given |= {"prompt_text": picture.prompt, "negative_prompt": picture.negative_prompt}
    told = _settled(entries, picture.index, lambda value: value(**given))
    line = ", ".join(
        name if name == value else f"{name}: {infotext_utils.quote(value)}"
        for name, value in told.items()
        if value is not None
    )
    negative = f"Negative prompt: {picture.negative_prompt}" if picture.negative_prompt else ""
    return "\n".join(part for part in (picture.prompt, negative, line) if part or part is picture.prompt).strip()
