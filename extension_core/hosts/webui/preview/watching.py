"""What recording asks of a host's adapter."""

from __future__ import annotations

from typing import Protocol

import torch

from extension_core.hosts.webui.preview.calls import Predicted


class Watched(Protocol):
    """One sampler of the host, watched while it runs."""

    def calling(self, sigma: torch.Tensor, cond_scale: float, s_min_uncond: float) -> float:
        """The denoiser is about to be called with these; returns the scale that the host will guide with."""
        ...

    def called(self, x: torch.Tensor, sigma: torch.Tensor, result: torch.Tensor) -> Predicted:
        """It was, and returned this."""
        ...
