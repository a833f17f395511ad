"""Latents to pictures for a whole batch, with the check for NaNs and its remedies."""

from __future__ import annotations

from typing import Any

import torch

from modules import devices, errors, shared
from modules.sd_latents import DecodedSamples
from modules.sd_samplers_common import decode_first_stage


def _fallback_dtype() -> torch.dtype | None:
    if shared.opts.auto_vae_precision_bfloat16:
        return torch.bfloat16
    return torch.float32 if shared.opts.auto_vae_precision else None


def decode_latent_batch(
    model: Any, batch: torch.Tensor, target_device: Any = None, check_for_nans: bool = False
) -> DecodedSamples:
    """Decodes one by one. A VAE that gives NaNs is moved to another number type once, where the settings allow; else
    NansException.
    """
    samples = DecodedSamples()
    if check_for_nans:
        devices.test_for_nans(batch, "unet")
    for i in range(batch.shape[0]):
        sample = decode_first_stage(model, batch[i : i + 1])[0]
        if check_for_nans:
            try:
                devices.test_for_nans(sample, "vae")
            except devices.NansException:
                dtype = _fallback_dtype()
                if dtype is None or devices.dtype_vae == dtype:
                    raise
                errors.print_error_explanation(
                    f"A tensor with all NaNs was produced in VAE.\nIt is converted to {dtype} and tried again."
                )
                devices.dtype_vae = dtype
                model.first_stage_model.to(dtype)
                sample = decode_first_stage(model, batch.to(dtype)[i : i + 1])[0]
        samples.append(sample if target_device is None else sample.to(target_device))
    return samples
