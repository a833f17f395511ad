"""What decoding and showing frames asks of a host's adapter, and what all hosts offer for it under the same names."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from typing import Any

import torch
from modules import devices, processing, sd_vae_approx, sd_vae_taesd


class Decoding(ABC):
    """How one kind of host makes pictures of latents. Nothing here loads a checkpoint or downloads a file."""

    @abstractmethod
    def loaded(self) -> Any:
        """The host's model, None if no checkpoint is loaded."""

    @abstractmethod
    def latent_kind(self) -> str:
        """Kind of the loaded model's latents: "sd", "sdxl", "sd3" or "flux"; "" if no checkpoint is loaded."""

    @abstractmethod
    def vae_in_use(self) -> tuple[str, ...]:
        """What the host decodes with now, its name first; () if no checkpoint is loaded."""

    @abstractmethod
    def beside_sampling(self) -> bool:
        """Whether another thread may compute on that device while the host samples."""

    @abstractmethod
    def without_gradients(self) -> AbstractContextManager[Any]:
        """Around what a thread of ours computes."""

    def colours(self, eye: torch.Tensor) -> torch.Tensor:
        """The host's approximate colours in -1..1 of latents [n, C, 1, 1], float32 in RAM, of the loaded kind."""
        return sd_vae_approx.cheap_approximation(eye)

    def taesd(self, path: str) -> torch.nn.Module:
        """The decoder in a file that is there, in RAM; [B, C, h, w] to pictures in 0..1. Raises what torch raises.

        The host's own `decoder_model` would download it (modules/sd_vae_taesd.py; A1111 1.10.1, Forge dfdcbab6).
        """
        return sd_vae_taesd.TAESDDecoder(path).decoder

    def device(self) -> tuple[torch.device, torch.dtype]:
        """Where and in which precision the host computes."""
        return devices.device, devices.dtype

    def decode_full(self, latent: torch.Tensor) -> torch.Tensor:
        """A latent [C, h, w] as the host decodes its images: [3, H, W] in -1..1 in RAM, float32.

        The caller holds the host's queue, or runs inside the request that does. NaNs are not looked for: that could
        change the host's precision for good.
        """
        batch, model = latent[None].float().to(devices.device), self.loaded()
        return processing.decode_latent_batch(model, batch, target_device=devices.cpu, check_for_nans=False)[0].float()
