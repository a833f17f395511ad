"""Requests and answers of the API. Requests have the fields of the processing classes, so a wrong type is refused
before anything runs.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Optional, get_type_hints

import pydantic
from pydantic import BaseModel, Field, create_model

from modules.processing import StableDiffusionProcessingImg2Img, StableDiffusionProcessingTxt2Img
from modules.shared import opts

OptionValue: Any = str if pydantic.VERSION.startswith("1.") else Any
"""Samplers' options: the older host answers with text, the newer one with what they are."""


class ApiModel(BaseModel):
    class Config:
        protected_namespaces = ()  # fields may be called model_...


API_NOT_ALLOWED = {
    "self",
    "kwargs",
    "sd_model",
    "outpath_samples",
    "outpath_grids",
    "sampler_index",
    "extra_generation_params",
    "overlay_images",
    "do_not_reload_embeddings",
    "seed_enable_extras",
    "prompt_for_display",
    "sampler_noise_scheduler_override",
    "ddim_discretize",
}


def _request_model(name: str, of: type, extra: dict[str, tuple[Any, Any]]) -> type[BaseModel]:
    """Where base class and subclass disagree the base's default counts, as in the host: `denoising_strength` of txt2img
    is None over the API, and hires without one fails.
    """
    hints = get_type_hints(of)
    fields: dict[str, Any] = {}
    for cls in filter(dataclasses.is_dataclass, of.__mro__):
        for f in dataclasses.fields(cls):
            if f.init and f.name not in API_NOT_ALLOWED:
                default = None if isinstance(f.default, property) or f.default is dataclasses.MISSING else f.default
                fields[f.name] = (Optional[hints[f.name]], default)
    fields.update({key: (Optional[kind], default) for key, (kind, default) in extra.items()})
    return create_model(name, **fields)


_COMMON: dict[str, tuple[Any, Any]] = {
    "sampler_index": (str, "Euler"),
    "script_name": (str, None),
    "script_args": (list, []),
    "send_images": (bool, True),
    "save_images": (bool, False),
    "alwayson_scripts": (dict, {}),
    "force_task_id": (str, None),
    "infotext": (str, None),
}
_IMG2IMG: dict[str, tuple[Any, Any]] = {
    **_COMMON,
    "init_images": (list, None),
    "denoising_strength": (float, 0.75),
    "mask": (str, None),
    "include_init_images": (bool, False),
}
StableDiffusionTxt2ImgProcessingAPI: Any = _request_model(
    "StableDiffusionProcessingTxt2Img", StableDiffusionProcessingTxt2Img, _COMMON
)
StableDiffusionImg2ImgProcessingAPI: Any = _request_model(
    "StableDiffusionProcessingImg2Img", StableDiffusionProcessingImg2Img, _IMG2IMG
)


class TextToImageResponse(ApiModel):
    images: Optional[list[str]] = None
    parameters: dict[str, Any]
    info: str


class ImageToImageResponse(TextToImageResponse):
    pass


class PNGInfoRequest(ApiModel):
    image: str


class PNGInfoResponse(ApiModel):
    info: str
    items: dict[str, Any]
    parameters: dict[str, Any]


class ProgressRequest(ApiModel):
    skip_current_image: bool = False


class ProgressResponse(ApiModel):
    progress: float
    eta_relative: float
    state: dict[str, Any]
    current_image: Optional[str] = None
    textinfo: Optional[str] = None


class SamplerItem(ApiModel):
    name: str
    aliases: list[str]
    options: dict[str, OptionValue]  # type: ignore[valid-type]


class SchedulerItem(ApiModel):
    name: str
    label: str
    aliases: Optional[list[str]]
    default_rho: Optional[float]
    need_inner_model: Optional[bool]


class UpscalerItem(ApiModel):
    name: str
    model_name: Optional[str]
    model_path: Optional[str]
    model_url: Optional[str]
    scale: Optional[float]


class LatentUpscalerModeItem(ApiModel):
    name: str


class SDModelItem(ApiModel):
    title: str
    model_name: str
    hash: Optional[str]
    sha256: Optional[str]
    filename: str
    config: Optional[str]


class SDVaeItem(ApiModel):
    model_name: str
    filename: str


class PromptStyleItem(ApiModel):
    name: str
    prompt: Optional[str]
    negative_prompt: Optional[str]


class EmbeddingItem(ApiModel):
    step: Optional[int]
    sd_checkpoint: Optional[str]
    sd_checkpoint_name: Optional[str]
    shape: int
    vectors: int


class EmbeddingsResponse(ApiModel):
    loaded: dict[str, EmbeddingItem]
    skipped: dict[str, EmbeddingItem]


class MemoryResponse(ApiModel):
    ram: dict[str, Any]
    cuda: dict[str, Any]


class ScriptsList(ApiModel):
    txt2img: Optional[list[Any]] = None
    img2img: Optional[list[Any]] = None


class ScriptArg(ApiModel):
    label: Optional[str] = None
    value: Optional[Any] = None
    minimum: Optional[Any] = None
    maximum: Optional[Any] = None
    step: Optional[Any] = None
    choices: Optional[list[str]] = None


class ScriptInfo(ApiModel):
    name: Optional[str] = None
    is_alwayson: Optional[bool] = None
    is_img2img: Optional[bool] = None
    args: list[ScriptArg]


class ExtensionItem(ApiModel):
    name: str
    remote: str
    branch: str
    commit_hash: str
    version: str
    commit_date: str
    enabled: bool


def _options_model() -> Any:
    fields: dict[str, Any] = {}
    for key, info in opts.data_labels.items():
        kind = opts.typemap.get(type(info.default), type(info.default)) if info.default else Any
        fields[key] = (Optional[kind], Field(default=info.default, description=info.label))
    return create_model("Options", **fields)


OptionsModel = _options_model()
