"""The model's VAE as samplers and requests use it."""

from __future__ import annotations

from typing import Any

import torch

from modules import devices, lowvram, shared


def decode(model: Any, sample: torch.Tensor) -> torch.Tensor:
    """Latents [B, 4, h, w] to pictures [B, 3, H, W] in -1..1."""
    with torch.no_grad(), devices.without_autocast():
        return model.decode_first_stage(sample.to(model.first_stage_model.dtype))


def for_decoding(latents: torch.Tensor) -> torch.Tensor:
    return latents.to(devices.dtype_vae)


def encode(model: Any, image: torch.Tensor) -> torch.Tensor:
    """Pictures [B, 3, H, W] in 0..1 to latents, one by one, drawn from the encoder's distribution."""
    model.first_stage_model.to(devices.dtype_vae)
    image = image.to(shared.device, dtype=devices.dtype_vae) * 2 - 1
    rows = [model.get_first_stage_encoding(model.encode_first_stage(row.unsqueeze(0)))[0] for row in image]
    return torch.stack(rows)


def for_previews(approximation: int) -> int:
    """Full decoding (0) only where memory suffices, else "Approx NN" (1)."""
    short = lowvram.is_enabled(shared.sd_model) and not shared.opts.live_preview_allow_lowvram_full
    return 1 if approximation == 0 and short else approximation
