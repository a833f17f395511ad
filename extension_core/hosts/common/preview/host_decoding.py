"""What both hosts offer for decoding, under the same names."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from modules import devices, processing, sd_vae_approx, sd_vae_taesd


class CommonDecoding(ABC):
    """The part of `protocols.Decoding` that adapters share."""

    @abstractmethod
    def loaded(self) -> Any:
        """The host's model, None if no checkpoint is loaded."""

    def colours(self, eye: torch.Tensor) -> torch.Tensor:
        """As `protocols.Decoding`: [n, C, 1, 1] to [n, 3, 1, 1]."""
        return sd_vae_approx.cheap_approximation(eye)

    def taesd(self, path: str) -> torch.nn.Module:
        """As `protocols.Decoding`.

        The hosts' own `decoder_model` would download (modules/sd_vae_taesd.py; A1111 1.10.1, Forge dfdcbab6).
        """
        return sd_vae_taesd.TAESDDecoder(path).decoder

    def device(self) -> tuple[torch.device, torch.dtype]:
        """As `protocols.Decoding`."""
        return devices.device, devices.dtype

    def decode_full(self, latent: torch.Tensor) -> torch.Tensor:
        """As `protocols.Decoding`, [C, h, w]; looking for NaNs could change the host's precision for good."""
        batch, model = latent[None].float().to(devices.device), self.loaded()
        return processing.decode_latent_batch(model, batch, target_device=devices.cpu, check_for_nans=False)[0].float()
