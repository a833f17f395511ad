"""Latents to pictures for a whole batch."""

from __future__ import annotations

from typing import Any

import torch

from modules.sd_latents import DecodedSamples
from modules.sd_samplers_common import decode_first_stage


def decode_latent_batch(
    model: Any, batch: torch.Tensor, target_device: Any = None, check_for_nans: bool = False
) -> DecodedSamples:
    """All at once; the VAE's patcher sees to memory, and nobody looks for NaNs."""
    del check_for_nans
    return DecodedSamples(decode_first_stage(model, batch).to(target_device))
