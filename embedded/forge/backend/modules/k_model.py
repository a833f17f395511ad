"""U-Net and predictor: from a noisy latent at a level to x0."""

from __future__ import annotations

from typing import Any

import torch

from backend.modules.k_prediction import Prediction

_BYTES_A_LATENT_PIXEL = 1.28 * 16384


class KModel(torch.nn.Module):
    def __init__(self, model: Any, diffusers_scheduler: Any, k_predictor: Any = None, config: Any = None) -> None:
        super().__init__()
        self.config, self.diffusion_model = config, model
        self.storage_dtype, self.computation_dtype = model.storage_dtype, model.computation_dtype
        self.predictor = k_predictor or Prediction(**diffusers_scheduler.config)

    def apply_model(
        self, x: torch.Tensor, t: torch.Tensor, c_crossattn: Any, c_concat: Any = None, **more: Any
    ) -> torch.Tensor:
        """x0 [B, 4, h, w] of latents x at levels t [B]; further conditions go to the U-Net as they are."""
        dtype, rows = self.computation_dtype, self.predictor.calculate_input(t, x)
        rows = rows if c_concat is None else torch.cat([rows, c_concat], dim=1)
        timesteps = self.predictor.timestep(t).float()
        predicted = self.diffusion_model(rows.to(dtype), timesteps, context=c_crossattn.to(dtype), **more)
        return self.predictor.calculate_denoised(t, predicted.float(), x)

    def memory_required(self, input_shape: Any) -> float:
        pixels = input_shape[0] * input_shape[2] * input_shape[3]
        return pixels * self.computation_dtype.itemsize * _BYTES_A_LATENT_PIXEL
