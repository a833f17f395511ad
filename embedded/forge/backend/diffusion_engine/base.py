"""A loaded checkpoint: its parts' patchers three times, as loaded, with the prompt's networks, and as this pass has
them.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch

from backend import memory_management
from backend.components import CLIP, VAE, ClassicTextProcessingEngine
from backend.patcher.unet import UnetPatcher


@dataclass(eq=False)
class ForgeObjects:
    """The patchers in use. Exchanging one here changes what runs from the next step on."""

    unet: Any
    clip: Any
    vae: Any
    clipvision: Any = None

    def shallow_copy(self) -> ForgeObjects:
        return copy.copy(self)


class ForgeDiffusionEngine:
    """Stable Diffusion 1.x. The loader adds: sd_checkpoint_info, filename, sd_model_hash."""

    sd_checkpoint_info: Any
    filename: str
    sd_model_hash: str | None
    alphas_cumprod: torch.Tensor
    is_sd1, is_sd2, is_sdxl, is_sd3 = True, False, False, False
    first_stage_model = cond_stage_model = None

    def __init__(self, estimated_config: Any, huggingface_components: dict[str, Any]) -> None:
        self.model_config, parts = estimated_config, huggingface_components
        self.extra_generation_params: dict[str, Any] = {}
        self.comments: list[str] = []
        self.current_lora_hash = str([])
        encoder, tokenizer = parts["text_encoder"], parts["tokenizer"]
        self.text_processing_engine = ClassicTextProcessingEngine(encoder, tokenizer)
        unet = UnetPatcher.from_model(parts["unet"], diffusers_scheduler=parts["scheduler"], config=estimated_config)
        self.forge_objects = ForgeObjects(unet, CLIP({"clip_l": encoder}, {"clip_l": tokenizer}), VAE(parts["vae"]))
        self.forge_objects_original = self.forge_objects.shallow_copy()
        self.forge_objects_after_applying_lora = self.forge_objects.shallow_copy()

    def set_clip_skip(self, clip_skip: int) -> None:
        self.text_processing_engine.clip_skip = clip_skip

    def is_webui_legacy_model(self) -> bool:
        return any((self.is_sd1, self.is_sd2, self.is_sdxl, self.is_sd3))

    @torch.inference_mode()
    def get_learned_conditioning(self, prompt: list[str]) -> torch.Tensor:
        memory_management.load_model_gpu(self.forge_objects.clip.patcher)
        return self.text_processing_engine.encode(prompt)

    @torch.inference_mode()
    def encode_first_stage(self, x: torch.Tensor) -> torch.Tensor:
        return self.forge_objects.vae.encode(x).to(x)

    @torch.inference_mode()
    def decode_first_stage(self, x: torch.Tensor) -> torch.Tensor:
        return self.forge_objects.vae.decode(x).to(x)
