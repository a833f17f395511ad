"""Forge's ways from a latent to a picture."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import torch
from backend import memory_management
from modules import devices, processing, sd_models, sd_vae_approx, sd_vae_taesd, shared

from extension_core.hosts.forge import model

# States in which the host itself moves parts of models (backend/memory_management.py, dfdcbab6).
_MOVING = ("LOW_VRAM", "NO_VRAM")


class ForgeDecoding:
    """As `webui.preview.host.Decoding`."""

    def latent_kind(self) -> str:
        """As `webui.preview.host.Decoding`."""
        if not model.is_loaded():
            return ""
        engine = sd_models.model_data.sd_model
        if engine.is_sd3:
            return "sd3"
        if not engine.is_webui_legacy_model():
            return "flux"
        return "sdxl" if engine.is_sdxl else "sd"

    def vae_in_use(self) -> tuple[str, ...]:
        """Checkpoint, and all it was loaded with: a VAE file is one of its further modules here."""
        if not model.is_loaded():
            return ()
        info = sd_models.model_data.sd_model.sd_checkpoint_info
        return info.name, info.filename, sd_models.model_data.forge_hash

    def colours(self, eye: torch.Tensor) -> torch.Tensor:
        """As `webui.preview.host.Decoding`."""
        return sd_vae_approx.cheap_approximation(eye)

    def taesd(self, path: str) -> torch.nn.Module:
        """As `webui.preview.host.Decoding`; `decoder_model` would download (modules/sd_vae_taesd.py, dfdcbab6)."""
        return sd_vae_taesd.TAESDDecoder(path).decoder

    def device(self) -> tuple[torch.device, torch.dtype]:
        """As `webui.preview.host.Decoding`."""
        return devices.device, devices.dtype

    def beside_sampling(self) -> bool:
        """Not where the host unloads and streams models for want of memory."""
        moving = memory_management.vram_state.name in _MOVING or memory_management.ALWAYS_VRAM_OFFLOAD
        return shared.parallel_processing_allowed and not moving

    def without_gradients(self) -> AbstractContextManager[Any]:
        """As the host samples."""
        return torch.inference_mode()

    def decode_full(self, latent: torch.Tensor) -> torch.Tensor:
        """As `webui.preview.host.Decoding`."""
        batch = latent[None].float().to(devices.device)
        engine = sd_models.model_data.sd_model
        return processing.decode_latent_batch(engine, batch, target_device=devices.cpu, check_for_nans=False)[0].float()
