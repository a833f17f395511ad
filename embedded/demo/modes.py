"""The ways of making an image that the demo compares, as txt2img requests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .client import infotext_total

SCRIPT = "Diversity Distillation"
BASE, DISTILLED = "monsters_base", "monsters_distilled"
PROMPTS = ("a green monster", "a monster", "a smiling monster, at night")
"""Ambiguous prompts; the grids show the first."""
SIDE = 128
BATCH = 16


@dataclass(frozen=True)
class Mode:
    """One way: its name, a caption for people, steps, sampler, CFG, and the extension's arguments (None: off)."""

    name: str
    caption: str
    steps: int
    sampler: str
    cfg: float
    arguments: dict[str, Any] | None

    def payload(self, prompt: str, seed: int, count: int) -> dict[str, Any]:
        """A request for `count` images from consecutive seeds, in batches of up to 16."""
        batch = min(BATCH, count)
        request: dict[str, Any] = {
            "prompt": prompt,
            "seed": seed,
            "batch_size": batch,
            "n_iter": -(-count // batch),
            "width": SIDE,
            "height": SIDE,
            "steps": self.steps,
            "sampler_name": self.sampler,
            "scheduler": "Automatic",
            "cfg_scale": self.cfg,
        }
        if self.arguments is not None:
            request["alwayson_scripts"] = {SCRIPT: {"args": [self.arguments]}}
        return request

    def unet_calls(self, infotext: str) -> int:
        """U-Net calls for one image, as its infotext says what ran. The base's Euler calls once a step."""
        return infotext_total(infotext, "Steps" if self.arguments is None else "DD U-Net calls")


def _arguments(mode: str, switch_step: int) -> dict[str, Any]:
    return {
        "enabled": True,
        "distilled_model": DISTILLED,
        "family": "dmd2",
        "mode": mode,
        "switch_step": switch_step,
        "base_steps": None,
        "base_cfg": 1,
        "distilled_cfg": 1,
        "base_sampler": "same",
        "schedule": "family",
        "text_encoder": "auto",
        "passes": "first",
    }


MODES = (
    Mode("base", "base model alone", 25, "Euler", 1.0, None),
    Mode("distilled", "distilled model alone", 4, "LCM", 1.0, _arguments("distilled", 1)),
    Mode("hybrid", "base for the first step, distilled for the rest", 4, "LCM", 1.0, _arguments("hybrid", 1)),
    Mode("hybrid_k2", "base for the first two steps, distilled for the rest", 4, "LCM", 1.0, _arguments("hybrid", 2)),
)
