"""The autoencoder with its patcher. Pictures are [B, H, W, 3] in 0..1 here."""

from __future__ import annotations

from typing import Any

import torch

from backend import memory_management
from backend.patcher.base import ModelPatcher

_BYTES_A_PIXEL = {"encode": 1767, "decode": 2178 * 64}


class VAE:
    def __init__(self, model: Any) -> None:
        self.first_stage_model = model
        self.downscale_ratio = 2 ** (len(model.config.down_block_types) - 1)
        self.latent_channels = int(model.config.latent_channels)
        self.device, self.vae_dtype = memory_management.vae_device(), memory_management.vae_dtype()
        self.patcher = ModelPatcher(model, self.device, memory_management.vae_offload_device())

    def _ready(self, what: str, x: torch.Tensor) -> torch.Tensor:
        """x [B, C, h, w] where the network is, which is loaded with room for it."""
        needed = _BYTES_A_PIXEL[what] * x.shape[2] * x.shape[3] * self.vae_dtype.itemsize
        memory_management.load_models_gpu([self.patcher], memory_required=needed)
        return x.to(device=self.device, dtype=self.vae_dtype)

    def decode(self, samples_in: torch.Tensor) -> torch.Tensor:
        """Latents [B, C, h, w], unscaled."""
        pixels = self.first_stage_model.decode(self._ready("decode", samples_in))
        pixels = pixels.to(memory_management.intermediate_device()).float()
        return torch.clamp((pixels + 1.0) / 2.0, 0.0, 1.0).movedim(1, -1)

    def encode(self, pixel_samples: torch.Tensor) -> torch.Tensor:
        signed = self._ready("encode", 2.0 * pixel_samples.movedim(-1, 1) - 1.0)
        return self.first_stage_model.drawn(signed).to(memory_management.intermediate_device()).float()
