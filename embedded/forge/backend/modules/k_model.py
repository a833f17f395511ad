"""U-Net and predictor: from a noisy latent at a level to x0."""

from __future__ import annotations

from typing import Any

import torch

from backend import memory_management
from backend.modules.k_prediction import k_prediction_from_diffusers_scheduler

_MEMORY_FACTOR = 1.28 * 16384


class KModel(torch.nn.Module):
    def __init__(self, model: Any, diffusers_scheduler: Any, k_predictor: Any = None, config: Any = None) -> None:
        super().__init__()
        self.config = config
        self.storage_dtype, self.computation_dtype = model.storage_dtype, model.computation_dtype
        self.diffusion_model = model
        self.predictor = k_predictor or k_prediction_from_diffusers_scheduler(diffusers_scheduler)

    def apply_model(
        self,
        x: torch.Tensor,
        t: torch.Tensor,
        c_concat: torch.Tensor | None = None,
        c_crossattn: Any = None,
        control: Any = None,
        transformer_options: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> torch.Tensor:
        """x0 [B, 4, h, w] of latents x at levels t [B]; further conditions go to the U-Net as they are."""
        dtype = self.computation_dtype
        scaled = self.predictor.calculate_input(t, x)
        if c_concat is not None:
            scaled = torch.cat([scaled, c_concat], dim=1)
        further = {
            name: value.to(dtype) if torch.is_tensor(value) and value.is_floating_point() else value
            for name, value in kwargs.items()
        }
        predicted = self.diffusion_model(
            scaled.to(dtype),
            self.predictor.timestep(t).float(),
            context=c_crossattn.to(dtype),
            control=control,
            transformer_options={} if transformer_options is None else transformer_options,
            **further,
        )
        return self.predictor.calculate_denoised(t, predicted.float(), x)

    def memory_required(self, input_shape: Any) -> float:
        area = input_shape[0] * input_shape[2] * input_shape[3]
        return _MEMORY_FACTOR * area * memory_management.dtype_size(self.computation_dtype)
