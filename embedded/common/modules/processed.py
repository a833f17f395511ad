"""What a generation returns, and the infotext that describes each picture."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from modules import errors, flavour, infotext_utils, model_handling, sd_samplers_common
from modules.shared import opts, state

_OF_REQUEST = (
    *("subseed_strength", "width", "height", "sampler_name", "cfg_scale", "steps", "batch_size", "sd_model_name"),
    *("sd_model_hash", "extra_generation_params", "styles", "is_using_inpainting_conditioning", "denoising_strength"),
)
_OWN = ("prompt", "negative_prompt", "seed", "subseed")
_OF_PICTURES = ("all_prompts", "all_negative_prompts", "all_seeds", "all_subseeds")
_BESIDE = ("index_of_first_image", "infotexts", "job_timestamp", "clip_skip", "version")
_TOLD = (*_OWN, *_OF_PICTURES, *_OF_REQUEST, *_BESIDE)
"""What `js` tells, which over the API is `info`."""


def shown(processed: Processed) -> list[Any]:
    """The gallery's pictures, and those that the API returns."""
    return [*processed.images, *getattr(processed, "extra_images", [])]


class Processed:
    all_prompts: list[str]
    all_negative_prompts: list[str]
    all_seeds: list[int]
    all_subseeds: list[int]
    batch_size: int

    def __init__(self, p, images_list, seed=-1, info="", subseed=None, index_of_first_image=0, infotexts=None) -> None:
        for name in _OF_REQUEST:
            setattr(self, name, getattr(p, name, None))
        self.images, self.info, self.index_of_first_image = images_list, info, index_of_first_image
        self.infotexts = infotexts or [info] * len(images_list)
        self.prompt, self.negative_prompt = p.prompt, p.negative_prompt
        self.seed, self.subseed = int(seed), -1 if subseed is None else int(subseed)
        for name, own in zip(_OF_PICTURES, _OWN):
            setattr(self, name, getattr(p, name) or [getattr(self, own)])
        self.comments = "".join(f"{line}\n" for line in p.comments)
        self.clip_skip, self.version = opts.CLIP_stop_at_last_layers, flavour.VERSION
        self.job_timestamp = state.job_timestamp

    def js(self) -> str:
        """As JSON; the prompts are those of the first picture, and what JSON has no words for is null."""
        told = {name: getattr(self, name) for name in _TOLD}
        told |= {"prompt": self.all_prompts[0], "negative_prompt": self.all_negative_prompts[0]}
        return json.dumps(told, default=lambda _value: None)

    def infotext(self, p: Any, index: int) -> str:
        return create_infotext(p, self.all_prompts, self.all_negative_prompts, self.all_seeds, index)


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


def _entries(p: Any, seed: int) -> dict[str, Any]:
    """The infotext's line, in its order; clients parse the names. The request's own notes come before the version."""
    entries = {label: getattr(p, name) for label, name in _FIRST.items()} | {"Seed": seed}
    entries |= {"Size": f"{p.width}x{p.height}", "Model hash": p.sd_model_hash if opts.add_model_hash_to_info else None}
    entries["Model"] = p.sd_model_name
    noted = p.extra_generation_params
    entries |= {"Denoising strength": noted.get("Denoising strength")} | _setting_entries(p) | noted
    return entries | {"Version": flavour.VERSION} | model_handling.last_entries()


def _settled(entries: dict[str, Any], index: int, ask: Callable[[Callable[..., Any]], Any]) -> dict[str, Any]:
    """With this picture's values in the place of lists and functions. What fails is reported and left out."""
    settled: dict[str, Any] = {}
    for name, value in entries.items():
        try:
            settled[name] = value[index] if isinstance(value, list) else ask(value) if callable(value) else value
        except Exception:
            errors.report(f"The infotext does without {name!r}, which could not be made", exc_info=True)
    return settled


def create_infotext(p, prompts, negatives, seeds, index=0, use_main_prompt=False) -> str:
    """Prompts, and a line of "Name: value". A value may be a list with one entry a picture, or a function."""
    if use_main_prompt:
        prompt, negative, seeds = p.main_prompt, p.main_negative_prompt, p.all_seeds
    else:
        prompt, negative = prompts[index], negatives[index]
    entries = _entries(p, seeds[index])
    of_all = {
        "all_prompts": prompts,
        "all_negative_prompts": negatives,
        "all_seeds": seeds,
        "generation_params": entries,
    }
    of_one = {"p": p, "index": index, "prompt_text": prompt, "negative_prompt": negative}
    told = _settled(entries, index, lambda value: value(**of_all, **of_one))
    parts = [
        name if name == value else f"{name}: {infotext_utils.quote(value)}"
        for name, value in told.items()
        if value is not None
    ]
    return "\n".join([prompt, *([f"Negative prompt: {negative}"] if negative else ()), ", ".join(parts)]).strip()
