"""Upscalers without weights: None, Lanczos and Nearest."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from PIL import Image


@dataclass
class UpscalerData:
    name: str
    data_path: str | None
    scaler: Any
    scale: int = 4
    model: Any = None


@dataclass
class Upscaler:
    name: str
    resample: Image.Resampling | None
    model_name: str | None = None
    model_path: str | None = None
    scalers: list[UpscalerData] = field(default_factory=list)

    def upscale(self, img: Image.Image, scale: float, selected_model: str | None = None) -> Image.Image:
        """To multiples of 8 pixels, as the host's do."""
        del selected_model
        if self.resample is None:
            return img
        size = int(img.width * scale) // 8 * 8, int(img.height * scale) // 8 * 8
        return img.resize(size, resample=self.resample)


def load_upscalers() -> list[UpscalerData]:
    kinds = [
        Upscaler("None", None),
        Upscaler("Lanczos", Image.Resampling.LANCZOS),
        Upscaler("Nearest", Image.Resampling.NEAREST),
    ]
    return [UpscalerData(x.name, None, x) for x in kinds]
