"""A loaded checkpoint: its parts' patchers three times, as loaded, with the prompt's networks, and as this pass has
them.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch

from backend import memory_management
from backend.patcher.clip import CLIP
from backend.patcher.unet import UnetPatcher
from backend.patcher.vae import VAE
from backend.text_processing.classic_engine import ClassicTextProcessingEngine


@dataclass(eq=False)
class ForgeObjects:
    """The patchers in use. Exchanging one here changes what runs from the next step on."""

    unet: Any
    clip: Any
    vae: Any
    clipvision: Any

    def shallow_copy(self) -> ForgeObjects:
        return copy.copy(self)


class ForgeDiffusionEngine:
    """The loader adds: sd_checkpoint_info, filename, sd_model_hash."""

    sd_checkpoint_info: Any
    filename: str
    sd_model_hash: str | None
    alphas_cumprod: torch.Tensor
    is_sd1 = is_sd2 = is_sdxl = is_sd3 = False
    first_stage_model = cond_stage_model = None

    def __init__(self, estimated_config: Any, huggingface_components: dict[str, Any]) -> None:
        self.model_config, self.is_inpaint = estimated_config, estimated_config.inpaint_model()
        self.extra_generation_params: dict[str, Any] = {}
        self.comments: list[str] = []
        self.current_lora_hash, self.tiling_enabled = str([]), False
        self.forge_objects = self.parts(huggingface_components)
        self.forge_objects_original = self.forge_objects.shallow_copy()
        self.forge_objects_after_applying_lora = self.forge_objects.shallow_copy()

    def parts(self, components: dict[str, Any]) -> ForgeObjects:
        raise NotImplementedError

    def set_clip_skip(self, clip_skip: int) -> None:
        raise NotImplementedError

    def is_webui_legacy_model(self) -> bool:
        return any((self.is_sd1, self.is_sd2, self.is_sdxl, self.is_sd3))


class StableDiffusion(ForgeDiffusionEngine):
    """Of version 1.x."""

    is_sd1 = True

    def parts(self, components: dict[str, Any]) -> ForgeObjects:
        encoder, tokenizer = components["text_encoder"], components["tokenizer"]
        self.text_processing_engine = ClassicTextProcessingEngine(encoder, tokenizer)
        unet = UnetPatcher.from_model(
            components["unet"], diffusers_scheduler=components["scheduler"], config=self.model_config
        )
        clip = CLIP({"clip_l": encoder}, {"clip_l": tokenizer})
        return ForgeObjects(unet, clip, VAE(model=components["vae"]), None)

    def set_clip_skip(self, clip_skip: int) -> None:
        self.text_processing_engine.clip_skip = clip_skip

    @torch.inference_mode()
    def get_learned_conditioning(self, prompt: list[str]) -> torch.Tensor:
        memory_management.load_model_gpu(self.forge_objects.clip.patcher)
        return self.text_processing_engine(prompt)

    @torch.inference_mode()
    def encode_first_stage(self, x: torch.Tensor) -> torch.Tensor:
        """Pictures [B, 3, H, W] in -1..1 to scaled latents."""
        vae = self.forge_objects.vae
        pixels = x.movedim(1, -1) * 0.5 + 0.5
        return vae.first_stage_model.process_in(vae.encode(pixels)).to(x)

    @torch.inference_mode()
    def decode_first_stage(self, x: torch.Tensor) -> torch.Tensor:
        """Scaled latents to pictures in -1..1."""
        vae = self.forge_objects.vae
        pixels = vae.decode(vae.first_stage_model.process_out(x))
        return (pixels.movedim(-1, 1) * 2.0 - 1.0).to(x)
