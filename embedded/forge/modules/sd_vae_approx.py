"""The two approximations of the VAE that need no file from elsewhere: colours, and a small network."""

from __future__ import annotations

from typing import Any

import torch

from modules import preview_files, shared
from modules.preview_files import VAEApprox, download_model

sd_vae_approx_models: dict[str, VAEApprox] = {}


def model() -> VAEApprox | None:
    """None for kinds of models that nobody has trained one for."""
    kind: Any = shared.sd_model
    if not kind.is_webui_legacy_model():
        return None
    name = "vaeapprox-sd3.pt" if kind.is_sd3 else "vaeapprox-sdxl.pt" if kind.is_sdxl else "model.pt"
    return preview_files.approx(name, kind.forge_objects.vae.latent_channels, sd_vae_approx_models)


def cheap_approximation(sample: torch.Tensor) -> torch.Tensor:
    """Latents of single precision [..., 4, h, w] to pictures [..., 3, h, w] in -1..1."""
    colours = shared.sd_model.model_config.latent_format.latent_rgb_factors
    return torch.einsum("...lxy,lr -> ...rxy", sample, torch.tensor(colours).to(sample.device))


__all__ = ["VAEApprox", "cheap_approximation", "download_model", "model", "sd_vae_approx_models"]
