"""The autoencoder with its patcher. Pictures are [B, H, W, 3] in 0..1 here."""

from __future__ import annotations

from typing import Any

import torch

from backend import memory_management
from backend.patcher.base import ModelPatcher

_ENCODE_BYTES, _DECODE_BYTES = 1767, 2178 * 64


class VAE:
    def __init__(
        self,
        model: Any = None,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
        no_init: bool = False,
    ) -> None:
        if no_init:
            return
        self.first_stage_model = model.eval()
        self.downscale_ratio = int(2 ** (len(model.config.down_block_types) - 1))
        self.latent_channels = int(model.config.latent_channels)
        self.device = device or memory_management.vae_device()
        self.vae_dtype = dtype or memory_management.vae_dtype()
        self.output_device = memory_management.intermediate_device()
        self.first_stage_model.to(self.vae_dtype)
        self.patcher = ModelPatcher(
            model, load_device=self.device, offload_device=memory_management.vae_offload_device()
        )

    def clone(self) -> VAE:
        other = VAE(no_init=True)
        vars(other).update(vars(self))
        other.patcher = self.patcher.clone()
        return other

    def _load(self, shape: Any, bytes_a_pixel: int) -> None:
        size = bytes_a_pixel * shape[2] * shape[3] * memory_management.dtype_size(self.vae_dtype)
        memory_management.load_models_gpu([self.patcher], memory_required=size)

    def decode_inner(self, samples_in: torch.Tensor) -> torch.Tensor:
        self._load(samples_in.shape, _DECODE_BYTES)
        pixels = self.first_stage_model.decode(samples_in.to(device=self.device, dtype=self.vae_dtype))
        return torch.clamp((pixels.to(self.output_device).float() + 1.0) / 2.0, 0.0, 1.0).movedim(1, -1)

    def decode(self, samples_in: torch.Tensor) -> torch.Tensor:
        """Latents [B, C, h, w], unscaled."""
        wrapper = self.patcher.model_options.get("model_vae_decode_wrapper")
        return self.decode_inner(samples_in) if wrapper is None else wrapper(self.decode_inner, samples_in)

    def encode_inner(self, pixel_samples: torch.Tensor) -> torch.Tensor:
        pixels = pixel_samples.movedim(-1, 1)
        self._load(pixels.shape, _ENCODE_BYTES)
        signed = (2.0 * pixels - 1.0).to(device=self.device, dtype=self.vae_dtype)
        regulation = self.patcher.model_options.get("model_vae_regulation")
        return self.first_stage_model.encode(signed, regulation).to(self.output_device).float()

    def encode(self, pixel_samples: torch.Tensor) -> torch.Tensor:
        wrapper = self.patcher.model_options.get("model_vae_encode_wrapper")
        return self.encode_inner(pixel_samples) if wrapper is None else wrapper(self.encode_inner, pixel_samples)
