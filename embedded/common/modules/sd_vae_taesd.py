"""TAESD, which imitates a VAE with a small network (github.com/madebyollin/taesd)."""

from __future__ import annotations

import torch
from torch import nn

from embedded.networks.previews import taesd_decoder_of
from modules import devices, preview_files

sd_vae_taesd_models: dict[str, TAESDDecoder] = {}


class TAESDDecoder(nn.Module):
    """Tells pictures in 0..1 by `decoder`. It is as wide as its file says, so that the pair's may be small."""

    latent_magnitude = 3
    latent_shift = 0.5

    def __init__(self, decoder_path: str = "taesd_decoder.pth", latent_channels: int | None = None) -> None:
        del latent_channels
        super().__init__()
        self.decoder = taesd_decoder_of(torch.load(decoder_path, map_location="cpu", weights_only=True)).float()


def decoder_model() -> nn.Module:
    """RuntimeError where the file is missing: the host would fetch it."""
    name = "taesd_decoder.pth"
    if name not in sd_vae_taesd_models:
        made = TAESDDecoder(preview_files.path_of("VAE-taesd", name))
        sd_vae_taesd_models[name] = made.eval().to(devices.device, devices.dtype)
    return sd_vae_taesd_models[name].decoder
