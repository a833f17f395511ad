"""Networks of Stable Diffusion 1.x in the key layout of its published files, and the reading of such files."""

from __future__ import annotations

from .checkpoint import LatentDiffusion, load_checkpoint
from .text import TextEncoder
from .unet import UNetModel
from .vae import AutoencoderKL

__all__ = ["AutoencoderKL", "LatentDiffusion", "TextEncoder", "UNetModel", "load_checkpoint"]
