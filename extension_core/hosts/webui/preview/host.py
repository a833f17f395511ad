"""What decoding and showing frames asks of a host's adapter."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Protocol

import torch


class Decoding(Protocol):
    """How one kind of host makes pictures of latents. Nothing here loads a checkpoint or downloads a file."""

    def latent_kind(self) -> str:
        """Kind of the loaded model's latents: "sd", "sdxl", "sd3" or "flux"; "" if no checkpoint is loaded."""
        ...

    def vae_in_use(self) -> tuple[str, ...]:
        """What the host decodes with now, its name first; () if no checkpoint is loaded."""
        ...

    def colours(self, eye: torch.Tensor) -> torch.Tensor:
        """The host's approximate colours in -1..1 of latents [n, C, 1, 1], float32 in RAM, of the loaded kind."""
        ...

    def taesd(self, path: str) -> torch.nn.Module:
        """The decoder in a file that is there, in RAM; [B, C, h, w] to pictures in 0..1. Raises what torch raises."""
        ...

    def device(self) -> tuple[torch.device, torch.dtype]:
        """Where and in which precision the host computes."""
        ...

    def beside_sampling(self) -> bool:
        """Whether another thread may compute on that device while the host samples."""
        ...

    def without_gradients(self) -> AbstractContextManager[Any]:
        """Around what a thread of ours computes."""
        ...

    def decode_full(self, latent: torch.Tensor) -> torch.Tensor:
        """A latent [C, h, w] as the host decodes its images: [3, H, W] in -1..1 in RAM, float32.

        The caller holds the host's queue, or runs inside the request that does.
        """
        ...
