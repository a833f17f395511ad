"""What callbacks are handed. Plain attributes: a callback changes them in place and the host reads them back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(eq=False)
class ImageSaveParams:
    image: Any
    p: Any
    filename: str
    pnginfo: dict[str, Any]


@dataclass(eq=False)
class ExtraNoiseParams:
    noise: Any
    x: Any
    xi: Any


@dataclass(eq=False)
class CFGDenoiserParams:
    """Before the U-Net runs. `x`, `sigma` and `image_cond` hold conditional rows, then one unconditional row an image;
    `sampling_step` is that of the last finished step, so it reads 0, 0, 1, 2 over four steps.
    """

    x: Any
    image_cond: Any
    sigma: Any
    sampling_step: int
    total_sampling_steps: int
    text_cond: Any
    text_uncond: Any
    denoiser: Any = None


@dataclass(eq=False)
class CFGDenoisedParams:
    """After the U-Net, before the two halves are combined."""

    x: Any
    sampling_step: int
    total_sampling_steps: int
    inner_model: Any


@dataclass(eq=False)
class AfterCFGCallbackParams:
    """The combined prediction; x0 for k-diffusion samplers, eps for those on timesteps. Carries no sigma."""

    x: Any
    sampling_step: int
    total_sampling_steps: int


@dataclass(eq=False)
class UiTrainTabParams:
    txt2img_preview_params: Any


@dataclass(eq=False)
class ImageGridLoopParams:
    imgs: list[Any]
    cols: int
    rows: int


@dataclass
class BeforeTokenCounterParams:
    prompt: str
    steps: int
    styles: list[str]
    is_positive: bool = True
