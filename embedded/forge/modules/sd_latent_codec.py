"""The model's VAE as samplers and requests use it."""

from __future__ import annotations

from typing import Any

import torch

from modules import devices, shared


def decode(model: Any, sample: torch.Tensor) -> torch.Tensor:
    """Latents [B, 4, h, w] to pictures [B, 3, H, W] in -1..1."""
    return model.decode_first_stage(sample)


def for_decoding(latents: torch.Tensor) -> torch.Tensor:
    return latents


def encode(model: Any, image: torch.Tensor) -> torch.Tensor:
    """Pictures [B, 3, H, W] in 0..1 to latents, one by one, drawn from the encoder's distribution."""
    image = image.to(shared.device, dtype=devices.dtype_vae) * 2 - 1
    rows = [model.get_first_stage_encoding(model.encode_first_stage(row.unsqueeze(0)))[0] for row in image]
    return torch.stack(rows)


def for_previews(approximation: int) -> int:
    """Never full decoding (0), which would unload the U-Net, but "Approx NN" (1)."""
    return approximation or 1
