"""Stable Diffusion 1.x."""

from __future__ import annotations

from typing import Any

import torch

from backend import memory_management
from backend.args import dynamic_args
from backend.diffusion_engine.base import ForgeDiffusionEngine, ForgeObjects
from backend.patcher.clip import CLIP
from backend.patcher.unet import UnetPatcher
from backend.patcher.vae import VAE
from backend.text_processing.classic_engine import ClassicTextProcessingEngine


class StableDiffusion(ForgeDiffusionEngine):
    def __init__(self, estimated_config: Any, huggingface_components: dict[str, Any]) -> None:
        super().__init__(estimated_config, huggingface_components)
        parts = huggingface_components
        clip = CLIP({"clip_l": parts["text_encoder"]}, {"clip_l": parts["tokenizer"]})
        unet = UnetPatcher.from_model(parts["unet"], diffusers_scheduler=parts["scheduler"], config=estimated_config)
        self.text_processing_engine = ClassicTextProcessingEngine(
            parts["text_encoder"],
            parts["tokenizer"],
            embedding_dir=dynamic_args["embedding_dir"],
            embedding_expected_shape=parts["text_encoder"].transformer.config.hidden_size,
        )
        self.hold(ForgeObjects(unet=unet, clip=clip, vae=VAE(model=parts["vae"]), clipvision=None))
        self.is_sd1 = True

    def set_clip_skip(self, clip_skip: int) -> None:
        self.text_processing_engine.clip_skip = clip_skip

    @torch.inference_mode()
    def get_learned_conditioning(self, prompt: list[str]) -> torch.Tensor:
        memory_management.load_model_gpu(self.forge_objects.clip.patcher)
        return self.text_processing_engine(prompt)

    def get_prompt_lengths_on_ui(self, prompt: str) -> tuple[int, int]:
        _, count = self.text_processing_engine.process_texts([prompt])
        return count, self.text_processing_engine.get_target_prompt_token_count(count)

    @torch.inference_mode()
    def encode_first_stage(self, x: torch.Tensor) -> torch.Tensor:
        """Pictures [B, 3, H, W] in -1..1 to scaled latents."""
        vae = self.forge_objects.vae
        latent = vae.encode(x.movedim(1, -1) * 0.5 + 0.5)
        return vae.first_stage_model.process_in(latent).to(x)

    @torch.inference_mode()
    def decode_first_stage(self, x: torch.Tensor) -> torch.Tensor:
        """Scaled latents to pictures in -1..1."""
        vae = self.forge_objects.vae
        pixels = vae.decode(vae.first_stage_model.process_out(x))
        return (pixels.movedim(-1, 1) * 2.0 - 1.0).to(x)
