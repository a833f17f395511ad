"""The KL autoencoder of Stable Diffusion with the published files' key names (``first_stage_model.*``)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .attention import PixelAttention


class ResnetBlock(nn.Module):
    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(32, channels, eps=1e-6)
        self.conv1 = nn.Conv2d(channels, out_channels, 3, padding=1)
        self.norm2 = nn.GroupNorm(32, out_channels, eps=1e-6)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        if channels != out_channels:
            self.nin_shortcut = nn.Conv2d(channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.conv2(F.silu(self.norm2(self.conv1(F.silu(self.norm1(x))))))
        return (self.nin_shortcut(x) if hasattr(self, "nin_shortcut") else x) + hidden


class Downsample(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class Upsample(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


class Level(nn.Module):
    """Blocks of one resolution. ``attn`` is empty here (files of this family attend in the middle only)."""

    def __init__(self, blocks: list[nn.Module], resample: tuple[str, nn.Module] | None) -> None:
        super().__init__()
        self.resample = resample and resample[0]
        self.block = nn.ModuleList(blocks)
        self.attn = nn.ModuleList()
        if resample is not None:
            self.add_module(*resample)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.block:
            x = block(x)
        return getattr(self, self.resample)(x) if self.resample else x


class Middle(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.block_1 = ResnetBlock(channels, channels)
        self.attn_1 = PixelAttention(channels)
        self.block_2 = ResnetBlock(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.block_2(self.attn_1(self.block_1(x)))


class Encoder(nn.Module):
    """Images [B, 3, H, W] in -1..1 to moments [B, 2 z, H/f, W/f], f = 2 ** (levels - 1)."""

    def __init__(self, ch: int, ch_mult: Sequence[int], num_res_blocks: int, in_channels: int, z_channels: int) -> None:
        super().__init__()
        channels = ch
        self.conv_in = nn.Conv2d(in_channels, ch, 3, padding=1)
        self.down = nn.ModuleList()
        for level, mult in enumerate(ch_mult):
            blocks: list[nn.Module] = []
            for _ in range(num_res_blocks):
                blocks.append(ResnetBlock(channels, ch * mult))
                channels = ch * mult
            last = level == len(ch_mult) - 1
            self.down.append(Level(blocks, None if last else ("downsample", Downsample(channels))))
        self.mid = Middle(channels)
        self.norm_out = nn.GroupNorm(32, channels, eps=1e-6)
        self.conv_out = nn.Conv2d(channels, 2 * z_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.conv_in(x)
        for level in self.down:
            hidden = level(hidden)
        return self.conv_out(F.silu(self.norm_out(self.mid(hidden))))


class Decoder(nn.Module):
    """Latents [B, z, h, w] to images [B, 3, h f, w f] in about -1..1."""

    def __init__(self, ch: int, ch_mult: Sequence[int], num_res_blocks: int, out_ch: int, z_channels: int) -> None:
        super().__init__()
        channels = ch * ch_mult[-1]
        self.conv_in = nn.Conv2d(z_channels, channels, 3, padding=1)
        self.mid = Middle(channels)
        ups: list[nn.Module] = []
        for level, mult in reversed(list(enumerate(ch_mult))):
            blocks: list[nn.Module] = []
            for _ in range(num_res_blocks + 1):
                blocks.append(ResnetBlock(channels, ch * mult))
                channels = ch * mult
            ups.insert(0, Level(blocks, ("upsample", Upsample(channels)) if level > 0 else None))
        self.up = nn.ModuleList(ups)
        self.norm_out = nn.GroupNorm(32, channels, eps=1e-6)
        self.conv_out = nn.Conv2d(channels, out_ch, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        hidden = self.mid(self.conv_in(z))
        for level in reversed(list(self.up)):
            hidden = level(hidden)
        return self.conv_out(F.silu(self.norm_out(hidden)))


class AutoencoderKL(nn.Module):
    """Encoder and decoder with the 1x1 convolutions around the latent.

    ``ddconfig`` is the dict of the ldm yaml (ch, ch_mult, num_res_blocks, in_channels, out_ch, z_channels; no attention
    outside the middle). Raises ValueError where ``attn_resolutions`` is not empty.
    """

    def __init__(self, ddconfig: dict[str, Any], embed_dim: int) -> None:
        super().__init__()
        if ddconfig.get("attn_resolutions"):
            raise ValueError(
                f"attn_resolutions is {list(ddconfig['attn_resolutions'])}, but this autoencoder attends in the middle "
                "only; use a configuration with an empty list."
            )
        shape = (ddconfig["ch"], ddconfig["ch_mult"], ddconfig["num_res_blocks"])
        z_channels = ddconfig["z_channels"]
        self.encoder = Encoder(*shape, ddconfig["in_channels"], z_channels)
        self.decoder = Decoder(*shape, ddconfig["out_ch"], z_channels)
        self.quant_conv = nn.Conv2d(2 * z_channels, 2 * embed_dim, 1)
        self.post_quant_conv = nn.Conv2d(embed_dim, z_channels, 1)

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance, each [B, z, H/f, W/f], of images [B, 3, H, W] in -1..1 (not scaled)."""
        mean, logvar = self.quant_conv(self.encoder(images)).chunk(2, dim=1)
        return mean, logvar.clamp(-30.0, 20.0)

    def decode(self, latents: Tensor) -> Tensor:
        """Images [B, 3, H, W] in about -1..1 of latents [B, z, H/f, W/f] (already divided by scale_factor)."""
        return self.decoder(self.post_quant_conv(latents))

    def forward(self, images: Tensor) -> Tensor:
        mean, logvar = self.encode(images)
        return self.decode(mean + torch.exp(0.5 * logvar) * torch.randn_like(mean))
