"""The two approximations of the VAE that need no file from elsewhere: colours, and a small network."""

from __future__ import annotations

from typing import Any

import torch

from modules import latent_colours, preview_files, shared
from modules.preview_files import VAEApprox, download_model

sd_vae_approx_models: dict[str, VAEApprox] = {}


def model() -> VAEApprox:
    kind: Any = shared.sd_model
    name = "vaeapprox-sd3.pt" if kind.is_sd3 else "vaeapprox-sdxl.pt" if kind.is_sdxl else "model.pt"
    return preview_files.approx(name, kind.latent_channels, sd_vae_approx_models)


def cheap_approximation(sample: torch.Tensor) -> torch.Tensor:
    """Latents of single precision [..., 4, h, w] to pictures [..., 3, h, w] in -1..1."""
    colours = latent_colours.of_width(shared.sd_model.first_stage_model.encoder.conv_in.out_channels)
    return torch.einsum("...lxy,lr -> ...rxy", sample, torch.tensor(colours).to(sample.device))


__all__ = ["VAEApprox", "cheap_approximation", "download_model", "model", "sd_vae_approx_models"]
