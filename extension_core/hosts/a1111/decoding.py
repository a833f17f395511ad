"""A1111's ways from a latent to a picture."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import torch
from modules import devices, processing, sd_models, sd_vae, sd_vae_approx, sd_vae_taesd, shared


def _loaded() -> Any:
    """The loaded model or None; `shared.sd_model` would load one (modules/sd_models.py, 1.10.1)."""
    return sd_models.model_data.sd_model


class A1111Decoding:
    """As `webui.preview.host.Decoding`."""

    def latent_kind(self) -> str:
        """As `webui.preview.host.Decoding`."""
        if (model := _loaded()) is None:
            return ""
        if getattr(model, "is_sd3", False):
            return "sd3"
        return "sdxl" if getattr(model, "is_sdxl", False) else "sd"

    def vae_in_use(self) -> tuple[str, ...]:
        """Checkpoint, and the VAE file that was put into it."""
        if (model := _loaded()) is None:
            return ()
        info = model.sd_checkpoint_info
        return info.name, info.filename, sd_vae.loaded_vae_file or ""

    def colours(self, eye: torch.Tensor) -> torch.Tensor:
        """As `webui.preview.host.Decoding`."""
        return sd_vae_approx.cheap_approximation(eye)

    def taesd(self, path: str) -> torch.nn.Module:
        """As `webui.preview.host.Decoding`; `decoder_model` would download (modules/sd_vae_taesd.py, 1.10.1)."""
        return sd_vae_taesd.TAESDDecoder(path).decoder

    def device(self) -> tuple[torch.device, torch.dtype]:
        """As `webui.preview.host.Decoding`."""
        return devices.device, devices.dtype

    def beside_sampling(self) -> bool:
        """Not with --lowvram or --medvram, which move the model's parts while they are called."""
        return shared.parallel_processing_allowed

    def without_gradients(self) -> AbstractContextManager[Any]:
        """As the host samples."""
        return torch.no_grad()

    def decode_full(self, latent: torch.Tensor) -> torch.Tensor:
        """As `webui.preview.host.Decoding`; looking for NaNs could change the host's precision for good."""
        batch = latent[None].float().to(devices.device)
        return processing.decode_latent_batch(_loaded(), batch, target_device=devices.cpu, check_for_nans=False)[
            0
        ].float()
