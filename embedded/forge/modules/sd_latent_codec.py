"""The model's VAE as samplers and requests use it."""

from __future__ import annotations

from typing import Any

import torch

from modules.rng import DecodedSamples


def decode(model: Any, sample: torch.Tensor) -> torch.Tensor:
    """Latents [B, 4, h, w] to pictures [B, 3, H, W] in -1..1."""
    return model.decode_first_stage(sample)


def encode_signed(model: Any, pictures: torch.Tensor) -> torch.Tensor:
    """Pictures [B, 3, H, W] in -1..1 to latents, drawn from the encoder's distribution."""
    return model.encode_first_stage(pictures)


def for_previews(approximation: int) -> int:
    """Never full decoding (0), which would unload the U-Net, but "Approx NN" (1)."""
    return approximation or 1


def decode_latent_batch(
    model: Any, batch: torch.Tensor, target_device: Any = None, check_for_nans: bool = False
) -> DecodedSamples:
    """All at once; the VAE's patcher sees to memory, and nobody looks for NaNs."""
    from modules.sd_samplers_common import decode_first_stage

    del check_for_nans
    return DecodedSamples(decode_first_stage(model, batch).to(target_device))
