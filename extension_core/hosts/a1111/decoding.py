"""A1111's ways from a latent to a picture."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import torch
from modules import sd_models, sd_vae, shared

from extension_core.hosts.common.preview.host_decoding import CommonDecoding


class A1111Decoding(CommonDecoding):
    """As `protocols.Decoding`."""

    def loaded(self) -> Any:
        """As `CommonDecoding`; `shared.sd_model` would load one (modules/sd_models.py, 1.10.1)."""
        return sd_models.model_data.sd_model

    def latent_kind(self) -> str:
        """As `protocols.Decoding`."""
        if (model := self.loaded()) is None:
            return ""
        if getattr(model, "is_sd3", False):
            return "sd3"
        return "sdxl" if getattr(model, "is_sdxl", False) else "sd"

    def vae_in_use(self) -> tuple[str, ...]:
        """Checkpoint, and the VAE file that was put into it."""
        if (model := self.loaded()) is None:
            return ()
        info = model.sd_checkpoint_info
        return info.name, info.filename, sd_vae.loaded_vae_file or ""

    def beside_sampling(self) -> bool:
        """Not with --lowvram or --medvram, which move the model's parts while they are called."""
        return shared.parallel_processing_allowed

    def without_gradients(self) -> AbstractContextManager[Any]:
        """As the host samples."""
        return torch.no_grad()
