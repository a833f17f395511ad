"""Forge's ways from a latent to a picture."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import torch
from backend import memory_management
from modules import sd_models, shared

from extension_core.hosts.common.preview.host_decoding import CommonDecoding
from extension_core.hosts.forge import model

# States in which the host itself moves parts of models (backend/memory_management.py, dfdcbab6).
_MOVING = ("LOW_VRAM", "NO_VRAM")


class ForgeDecoding(CommonDecoding):
    """As `protocols.Decoding`."""

    def loaded(self) -> Any:
        """As `CommonDecoding`; before the first load a stand-in is there (modules/sd_models.py)."""
        return sd_models.model_data.sd_model if model.is_loaded() else None

    def latent_kind(self) -> str:
        """As `protocols.Decoding`."""
        if (engine := self.loaded()) is None:
            return ""
        if engine.is_sd3:
            return "sd3"
        if not engine.is_webui_legacy_model():
            return "flux"
        return "sdxl" if engine.is_sdxl else "sd"

    def vae_in_use(self) -> tuple[str, ...]:
        """Checkpoint, and all it was loaded with: a VAE file is one of its further modules here."""
        if (engine := self.loaded()) is None:
            return ()
        info = engine.sd_checkpoint_info
        return info.name, info.filename, sd_models.model_data.forge_hash

    def beside_sampling(self) -> bool:
        """Not where the host unloads and streams models for want of memory."""
        moving = memory_management.vram_state.name in _MOVING or memory_management.ALWAYS_VRAM_OFFLOAD
        return shared.parallel_processing_allowed and not moving

    def without_gradients(self) -> AbstractContextManager[Any]:
        """As the host samples."""
        return torch.inference_mode()
