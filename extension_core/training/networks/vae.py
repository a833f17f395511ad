"""A checkpoint's autoencoder, between pictures and latents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from diffusers import AutoencoderKL
from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint
from torch import Tensor

from extension_core.errors import DiversityError

PREFIX = "first_stage_model."


class LatentCodec:
    """The autoencoder, in float32: SDXL's own leaves the range of half precision.

    Args:
        scale: latents of the U-Net are those of the autoencoder times this.
    """

    def __init__(self, vae: AutoencoderKL, scale: float) -> None:
        self.vae, self.scale = vae.eval().requires_grad_(False), scale

    @torch.no_grad()
    def encode(self, pictures: Tensor, generator: torch.Generator) -> Tensor:
        """Scaled latents [n, C, H / 8, W / 8] drawn for pictures [n, 3, H, W] in -1 to 1, whatever the device."""
        vae: Any = self.vae
        found = vae.encode(pictures.to(vae.device)).latent_dist
        noise = torch.randn(found.mean.shape, generator=generator).to(found.mean)
        return (found.mean + found.std * noise) * self.scale

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Pictures [n, 3, H, W] in about -1 to 1 of scaled latents [n, C, h, w]."""
        vae: Any = self.vae
        return vae.decode(latents.to(vae.device, torch.float32) / self.scale).sample

    def to(self, device: torch.device) -> LatentCodec:
        """The same on a device."""
        move: Any = self.vae.to
        move(device)
        return self

    @property
    def shrinks(self) -> int:
        """Pixels of a picture for one of the latent, in each direction."""
        vae: Any = self.vae
        return 2 ** (len(vae.config.block_out_channels) - 1)

    @property
    def channels(self) -> int:
        """Of a latent."""
        vae: Any = self.vae
        return vae.config.latent_channels


def build_vae(tensors: Mapping[str, Tensor], file_name: str, scale: float) -> LatentCodec:
    """The autoencoder among a checkpoint's tensors.

    Raises:
        DiversityError: there is none of a build that diffusers has.
    """
    inside = {name: tensor.float() for name, tensor in tensors.items() if name.startswith(PREFIX)}
    try:
        config = _config({name.removeprefix(PREFIX): tuple(tensor.shape) for name, tensor in inside.items()})
        vae = AutoencoderKL(**config)
        state: Any = convert_ldm_vae_checkpoint(inside, {**config})
        vae.load_state_dict(state)
    except (KeyError, ValueError, RuntimeError) as error:
        raise DiversityError(
            f"'{file_name}' holds no autoencoder that can be used here; choose a whole checkpoint, with text encoders "
            "and autoencoder."
        ) from error
    return LatentCodec(vae, scale)


def _config(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    levels = 1 + max(int(name.split(".")[2]) for name in shapes if name.startswith("encoder.down."))
    blocks = 1 + max(int(name.split(".")[4]) for name in shapes if name.startswith("encoder.down.0.block."))
    widths = [shapes[f"encoder.down.{level}.block.0.conv2.weight"][0] for level in range(levels)]
    return {
        "in_channels": shapes["encoder.conv_in.weight"][1],
        "out_channels": shapes["decoder.conv_out.weight"][0],
        "down_block_types": ("DownEncoderBlock2D",) * levels,
        "up_block_types": ("UpDecoderBlock2D",) * levels,
        "block_out_channels": tuple(widths),
        "layers_per_block": blocks,
        "latent_channels": shapes["post_quant_conv.weight"][0],
    }
