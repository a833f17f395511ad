"""TAESD of the loaded kind of model."""

from __future__ import annotations

from typing import Any

from torch import nn

from modules import shared, taesd_files
from modules.preview_files import download_model
from modules.taesd_files import TAESDDecoder

sd_vae_taesd_models: dict[str, Any] = {}


def _prefix() -> str:
    model: Any = shared.sd_model
    if model.is_sd3:
        return "taesd3"
    if not model.is_webui_legacy_model():
        return "taef1"
    return "taesdxl" if model.is_sdxl else "taesd"


def decoder_model() -> nn.Module:
    return taesd_files.decoder(f"{_prefix()}_decoder.pth", sd_vae_taesd_models)


def encoder_model() -> nn.Module:
    return taesd_files.encoder(f"{_prefix()}_encoder.pth")


__all__ = ["TAESDDecoder", "decoder_model", "download_model", "encoder_model", "sd_vae_taesd_models"]
