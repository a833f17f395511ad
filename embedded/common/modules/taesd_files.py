"""TAESD, which imitates a VAE with a small network, and its files by kind of model."""

from __future__ import annotations

import os
from typing import Any

import torch
from torch import nn

from embedded.networks.previews import taesd_decoder_of
from modules import devices, paths, preview_files


class TAESDDecoder(nn.Module):
    """Tells pictures in 0..1 by `decoder`. It is as wide as its file says, so that the pair's may be small."""

    latent_magnitude = 3
    latent_shift = 0.5

    def __init__(self, decoder_path: str = "taesd_decoder.pth", latent_channels: int | None = None) -> None:
        del latent_channels
        super().__init__()
        self.decoder = taesd_decoder_of(torch.load(decoder_path, map_location="cpu", weights_only=True)).float()


def decoder(name: str, loaded: dict[str, Any]) -> nn.Module:
    """The decoder of this name, read once."""
    if name not in loaded:
        path = _file(name)
        loaded[name] = TAESDDecoder(path).eval().to(devices.device, devices.dtype)
    return loaded[name].decoder


def encoder(name: str) -> nn.Module:
    """RuntimeError: none comes with the pair."""
    raise RuntimeError(f"The embedded WebUI has no TAESD encoder ({_file(name)} is not read); encode with Full.")


def _file(name: str) -> str:
    path = os.path.join(paths.models_path, preview_files.TAESD, name)
    preview_files.download_model(path, f"https://github.com/madebyollin/taesd/raw/main/{name}")
    return path
