"""A WebUI under test, spoken to over its API alone."""

from __future__ import annotations

import base64
import functools
import io
import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from tests.waiting import PATIENCE

TITLE = "Diversity Distillation"
FAULTS = "DD faults"

# The host does not take back an overridden setting that was never saved (1.10.1), so every request states them all.
NEUTRAL = {
    "always_discard_next_to_last_sigma": False,
    "sgm_noise_multiplier": False,
    "enable_quantization": False,
    "batch_cond_uncond": True,
    "pad_cond_uncond": False,
    "skip_early_cond": 0.0,
    "CLIP_stop_at_last_layers": 1,
    "s_min_uncond": 0.0,
    "s_min_uncond_all": False,
    "s_noise": 1.0,
    "eta_ancestral": 1.0,
    "eta_noise_seed_delta": 0,
    "use_old_karras_scheduler_sigmas": False,
    "no_dpmpp_sde_batch_determinism": False,
    "sd_noise_schedule": "Default",
    "use_downcasted_alpha_bar": False,
    "img2img_fix_steps": False,
    "s_churn": 0.0,
    "inpainting_mask_weight": 1.0,
}


@dataclass(frozen=True)
class Reply:
    """An answer of txt2img or img2img: [n] uint8 images and the host's info, or an error."""

    status: int
    images: list[np.ndarray]
    info: dict[str, Any]
    body: dict[str, Any]

    @property
    def infotext(self) -> str:
        return self.info["infotexts"][0]

    @property
    def sentence(self) -> str:
        """What an API client reads of an error."""
        return str(self.body.get("detail") or self.body.get("errors") or self.body)

    def same_as(self, other: Reply) -> bool:
        """Bit for bit the same images."""
        self.must_work(), other.must_work()
        return len(self.images) == len(other.images) and all(
            np.array_equal(a, b) for a, b in zip(self.images, other.images, strict=True)
        )

    def distance(self, other: Reply) -> float:
        """Mean absolute difference in 8-bit levels."""
        pairs = zip(self.images, other.images, strict=True)
        return float(np.mean([np.abs(a.astype(float) - b.astype(float)).mean() for a, b in pairs]))

    def must_work(self) -> Reply:
        assert self.status == 200, f"HTTP {self.status}: {self.sentence}"
        return self


@dataclass(frozen=True)
class Pair:
    """Two checkpoints of one architecture on the host, and what goes with them; names as the host lists them."""

    base: str
    distilled: str
    other_text_encoder: str | None
    lora: str | None
    embedding: str | None = None
    controlnet: str | None = None

    def __str__(self) -> str:
        return self.base.removesuffix("_base")


class WebUI:
    """A running host."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")

    def call(self, path: str, payload: dict[str, Any] | None = None) -> tuple[int, Any]:
        """GET, or POST where there is a payload."""
        data = None if payload is None else json.dumps(payload).encode()
        request = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=2 * PATIENCE) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read() or b"{}")

    def get(self, path: str) -> Any:
        status, body = self.call(path)
        assert status == 200, f"{path}: HTTP {status} {body}"
        return body

    def generate(
        self,
        model: str,
        settings: dict[str, Any] | None = None,
        path: str = "/sdapi/v1/txt2img",
        faults: dict[str, Any] | None = None,
        options: dict[str, Any] | None = None,
        scripts: dict[str, Any] | None = None,
        **request: Any,
    ) -> Reply:
        """One request on a checkpoint; `settings` is the extension's dict, None leaves the extension out.

        Args:
            scripts: arguments of other scripts, by title.
        """
        payload: dict[str, Any] = {
            "prompt": "a red cat",
            "negative_prompt": "bad",
            "seed": 1,
            "steps": 4,
            "cfg_scale": 5,
            "width": 64,
            "height": 64,
            "sampler_name": "Euler",
            "scheduler": "Automatic",
            **request,
            "override_settings": {**NEUTRAL, "sd_model_checkpoint": model, **(options or {})},
            "alwayson_scripts": {title: {"args": args} for title, args in (scripts or {}).items()},
        }
        if self.flavour == "forge" and payload.get("enable_hr"):  # its hires pass has a CFG and modules of its own
            payload = {"hr_cfg": payload["cfg_scale"], "hr_additional_modules": ["Use same choices"], **payload}
        if settings is not None:
            payload["alwayson_scripts"][TITLE] = {"args": [settings]}
        if faults is not None:
            payload["alwayson_scripts"][FAULTS] = {"args": [faults]}
        return self.read(*self.call(path, payload))

    @staticmethod
    def read(status: int, body: Any) -> Reply:
        """What txt2img or img2img answered."""
        if status != 200:
            return Reply(status, [], {}, body)
        images = [WebUI.colours(Image.open(io.BytesIO(base64.b64decode(image)))) for image in body["images"]]
        return Reply(status, images, json.loads(body["info"]), body)

    @staticmethod
    def colours(image: Image.Image) -> np.ndarray:
        """Without an alpha channel: Forge hides in it the infotext of what a script has saved, and the time with it.

        The time is in gzip's header (modules/stealth_infotext.py, dfdcbab6), so no two images were the same.
        """
        return np.asarray(image.convert("RGB") if image.mode == "RGBA" else image)

    def samplers(self) -> list[str]:
        return [sampler["name"] for sampler in self.get("/sdapi/v1/samplers")]

    def sampler_options(self, name: str) -> dict[str, Any]:
        """What the host says of a sampler."""
        return next(sampler["options"] for sampler in self.get("/sdapi/v1/samplers") if sampler["name"] == name)

    @functools.cached_property
    def flavour(self) -> str:
        """Which kind of host this is, by the settings that it has."""
        return "forge" if "forge_preset" in self.get("/sdapi/v1/options") else "a1111"

    def fingerprint(self) -> str:
        """Hash of every parameter and buffer of the host's live model (route of the faults extension)."""
        return self.get("/dd-faults/fingerprint")["sha256"]


def png_base64(image: np.ndarray) -> str:
    """An image as the API takes it."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()
