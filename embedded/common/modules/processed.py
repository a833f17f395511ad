"""What a generation returns, and the infotext that describes each picture."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from modules import devices, errors, infotext_utils, launch_utils, model_handling, sd_samplers_common, shared
from modules.shared import opts, state


def program_version() -> str | None:
    tag = launch_utils.git_tag()
    return None if tag == "<none>" else tag


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, list) else value


def _number(value: Any) -> int:
    return -1 if value is None else int(_first(value))


_PICTURE = ("subseed_strength", "width", "height", "sampler_name", "cfg_scale", "steps", "batch_size", "restore_faces")
_MODEL = ("sd_model_name", "sd_model_hash", "sd_vae_name", "sd_vae_hash", "seed_resize_from_w", "seed_resize_from_h")
_NOISE = ("eta", "ddim_discretize", "s_churn", "s_tmin", "s_tmax", "s_noise", "s_min_uncond")
_COPIED = (
    *_PICTURE,
    *_MODEL,
    *_NOISE,
    "extra_generation_params",
    "styles",
    "token_merging_ratio",
    "token_merging_ratio_hr",
    "sampler_noise_scheduler_override",
    "is_using_inpainting_conditioning",
)
_LISTS = ("all_prompts", "all_negative_prompts", "all_seeds", "all_subseeds")
# The API's `info`, in its order.
_IN_JSON = (
    "all_prompts",
    "all_negative_prompts",
    "seed",
    "all_seeds",
    "subseed",
    "all_subseeds",
    *_PICTURE,
    "face_restoration_model",
    *_MODEL,
    "denoising_strength",
    "extra_generation_params",
    "index_of_first_image",
    "infotexts",
    "styles",
    "job_timestamp",
    "clip_skip",
    "is_using_inpainting_conditioning",
    "version",
)


class Processed:
    width: int
    height: int
    batch_size: int
    restore_faces: bool
    extra_generation_params: dict[str, Any]
    token_merging_ratio: float
    token_merging_ratio_hr: float
    all_prompts: list[str]
    all_negative_prompts: list[str]
    all_seeds: list[int]
    all_subseeds: list[int]

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
        for name in _COPIED:
            setattr(self, name, getattr(p, name))
        for name in ("image_cfg_scale", "denoising_strength"):  # not every kind of request has them
            setattr(self, name, getattr(p, name, None))
        self.images, self.info, self.index_of_first_image = images_list, info, index_of_first_image
        self.infotexts = infotexts or [info for _ in images_list]
        self.prompt, self.negative_prompt = _first(p.prompt), _first(p.negative_prompt)
        self.seed, self.subseed = _number(seed), _number(subseed)
        self._take_lists(p, (all_prompts, all_negative_prompts, all_seeds, all_subseeds))
        self.comments = "".join([line + "\n" for line in p.comments])
        self._take_settings()

    def _take_lists(self, p: Any, given: Sequence[list[Any] | None]) -> None:
        """One entry a picture: what was given, or the request's, or the single value."""
        single = (self.prompt, self.negative_prompt, self.seed, self.subseed)
        for name, here, fallback in zip(_LISTS, given, single, strict=True):
            setattr(self, name, here or getattr(p, name) or [fallback])

    def _take_settings(self) -> None:
        self.face_restoration_model = opts.face_restoration_model if self.restore_faces else None
        self.clip_skip, self.version = opts.CLIP_stop_at_last_layers, program_version()
        self.job_timestamp = state.job_timestamp

    def js(self) -> str:
        answer = {"prompt": self.all_prompts[0], "negative_prompt": self.all_negative_prompts[0]}
        answer.update((name, getattr(self, name)) for name in _IN_JSON)
        return json.dumps(answer, default=lambda unknown: None)

    def infotext(self, p: Any, index: int) -> str:
        iteration, place = divmod(index, self.batch_size)
        lists = (self.all_prompts, self.all_seeds, self.all_subseeds)
        return create_infotext(p, *lists, comments=[], position_in_batch=place, iteration=iteration)

    def get_token_merging_ratio(self, for_hr: bool = False) -> float:
        return self.token_merging_ratio_hr if for_hr else self.token_merging_ratio


@dataclass(frozen=True)
class _Picture:
    """One picture of a request: what an infotext is written from."""

    p: Any
    prompt: str
    negative_prompt: str
    seed: int
    subseeds: Sequence[int]
    place: int

    def attribute(self, name: str, otherwise: Any = None) -> Any:
        return getattr(self.p, name, otherwise)


_Entry = Callable[[_Picture], Any]


def _attribute(name: str, switch: str | None = None) -> _Entry:
    """An attribute of the request, left out where the setting `switch` is off."""
    return lambda picture: picture.attribute(name) if switch is None or getattr(opts, switch) else None


def _setting_if(name: str, applies: Callable[[Any], Any]) -> _Entry:
    return lambda picture: getattr(opts, name) if applies(picture.p) else None


def _if_varied(value: _Entry) -> _Entry:
    return lambda picture: value(picture) if picture.p.subseed_strength != 0 else None


def _seed_resize(picture: _Picture) -> str | None:
    w, h = picture.p.seed_resize_from_w, picture.p.seed_resize_from_h
    return f"{w}x{h}" if min(w, h) > 0 else None


def _mask_weight(picture: _Picture) -> float | None:
    if not picture.p.is_using_inpainting_conditioning:
        return None
    return picture.attribute("inpainting_mask_weight", shared.opts.inpainting_mask_weight)


def _clip_skip(picture: _Picture) -> int | None:
    layers = picture.attribute("clip_skip", opts.CLIP_stop_at_last_layers)
    return layers if layers > 1 else None


def _seed_delta(picture: _Picture) -> int | None:
    delta = opts.eta_noise_seed_delta
    return delta if delta and sd_samplers_common.is_sampler_using_eta_noise_seed_delta(picture.p) else None


def _merging_hr(picture: _Picture) -> float | None:
    return (picture.p.get_token_merging_ratio(for_hr=True) or None) if picture.attribute("enable_hr") else None


def _on_fp8(p: Any) -> bool:
    return devices.fp8


# The infotext's line, in its order; clients parse the names. The request's own notes come between the two tables.
_ENTRIES: dict[str, _Entry] = {
    "Steps": _attribute("steps"),
    "Sampler": _attribute("sampler_name"),
    "Schedule type": _attribute("scheduler"),
    "CFG scale": _attribute("cfg_scale"),
    "Image CFG scale": _attribute("image_cfg_scale"),
    "Seed": lambda picture: picture.seed,
    "Face restoration": _setting_if("face_restoration_model", lambda p: p.restore_faces),
    "Size": lambda picture: f"{picture.p.width}x{picture.p.height}",
    "Model hash": _attribute("sd_model_hash", "add_model_hash_to_info"),
    "Model": _attribute("sd_model_name", "add_model_name_to_info"),
    "FP8 weight": _setting_if("fp8_storage", _on_fp8),
    "Cache FP16 weight for LoRA": _setting_if("cache_fp16_weight", _on_fp8),
    "VAE hash": _attribute("sd_vae_hash", "add_vae_hash_to_info"),
    "VAE": _attribute("sd_vae_name", "add_vae_name_to_info"),
    "Variation seed": _if_varied(lambda picture: picture.subseeds[picture.place]),
    "Variation seed strength": _if_varied(_attribute("subseed_strength")),
    "Seed resize from": _seed_resize,
    "Denoising strength": lambda picture: picture.p.extra_generation_params.get("Denoising strength"),
    "Conditional mask weight": _mask_weight,
    "Clip skip": _clip_skip,
    "ENSD": _seed_delta,
    "Token merging ratio": lambda picture: picture.p.get_token_merging_ratio() or None,
    "Token merging ratio hr": _merging_hr,
    "Init image hash": _attribute("init_img_hash"),
    "RNG": _setting_if("randn_source", lambda p: opts.randn_source != "GPU"),
    "Tiling": lambda picture: "True" if picture.p.tiling else None,
}
_LAST_ENTRIES: dict[str, _Entry] = {
    "Version": lambda picture: program_version() if opts.add_version_to_infotext else None,
    "User": _attribute("user", "add_user_name_to_info"),
}


def _resolve(entries: dict[str, Any], place: int, arguments: Mapping[str, Any]) -> None:
    """Lists and functions among the values become this picture's value."""
    for name, value in entries.items():
        try:
            if isinstance(value, list):
                entries[name] = value[place]
            elif callable(value):
                entries[name] = value(**arguments)
        except Exception:
            errors.report(f"The infotext's entry {name!r} could not be made and is left out", exc_info=True)
            entries[name] = None


def _written(name: str, value: Any) -> str:
    return name if name == value else f"{name}: {infotext_utils.quote(value)}"


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
    """Prompt, negative prompt, and one line of "Name: value". Values of `p.extra_generation_params` may be text, a list
    with one entry a picture, or a function that is called with these arguments by name; whatever those raise is
    reported and the entry left out.
    """
    arguments = dict(locals())  # what functions among the entries are called with, by these names
    negatives = p.all_negative_prompts if all_negative_prompts is None else all_negative_prompts
    if use_main_prompt:
        place, picture = 0, _Picture(p, p.main_prompt, p.main_negative_prompt, p.all_seeds[0], p.all_subseeds, 0)
    else:
        place = iteration * p.batch_size + position_in_batch if index is None else index
        picture = _Picture(p, all_prompts[place], negatives[place], all_seeds[place], all_subseeds, place)
    entries = {name: entry(picture) for name, entry in _ENTRIES.items()}
    entries.update(p.extra_generation_params)
    entries.update({name: entry(picture) for name, entry in _LAST_ENTRIES.items()})
    entries.update(model_handling.last_entries())
    arguments |= {"index": place, "all_negative_prompts": negatives, "generation_params": entries}
    arguments |= {"prompt_text": picture.prompt, "negative_prompt": picture.negative_prompt}
    _resolve(entries, place, arguments)
    paragraphs = [picture.prompt]
    if picture.negative_prompt:
        paragraphs.append(f"Negative prompt: {picture.negative_prompt}")
    paragraphs.append(", ".join(_written(*entry) for entry in entries.items() if entry[1] is not None))
    return "\n".join(paragraphs).strip()
