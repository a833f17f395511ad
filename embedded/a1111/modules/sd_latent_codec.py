"""The model's VAE as samplers and requests use it."""

from __future__ import annotations

from typing import Any

import torch

from modules import devices, lowvram, shared
from modules.rng import DecodedSamples


def decode(model: Any, sample: torch.Tensor) -> torch.Tensor:
    """Latents [B, 4, h, w] to pictures [B, 3, H, W] in -1..1."""
    with torch.no_grad(), devices.without_autocast():
        return model.decode_first_stage(sample.to(devices.dtype_vae))


def encode_signed(model: Any, pictures: torch.Tensor) -> torch.Tensor:
    """Pictures [B, 3, H, W] in -1..1 to latents, drawn from the encoder's distribution."""
    return model.get_first_stage_encoding(model.encode_first_stage(pictures))


def for_previews(approximation: int) -> int:
    """Full decoding (0) only where memory suffices, else "Approx NN" (1)."""
    return approximation or int(lowvram.is_enabled(shared.sd_model))


def decode_latent_batch(
    model: Any, batch: torch.Tensor, target_device: Any = None, check_for_nans: bool = False
) -> DecodedSamples:
    """One by one. NansException where latents or pictures have no numbers."""
    from modules.sd_samplers_common import decode_first_stage

    if check_for_nans:
        devices.test_for_nans(batch, "unet")
    samples = DecodedSamples()
    for latent in batch.split(1):
        picture = decode_first_stage(model, latent)[0]
        if check_for_nans:
            devices.test_for_nans(picture, "vae")
        samples.append(picture.to(target_device or picture.device))
    return samples
