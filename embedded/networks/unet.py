"""The U-Net of Stable Diffusion 1.x (and, with a label embedding, SDXL), with the published files' key names.

Written from the published configurations and key lists; the reference for its numbers in the tests is diffusers'
``UNet2DConditionModel`` loaded with the same weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .attention import SpatialTransformer
from .noise import timestep_embedding


class ResBlock(nn.Module):
    """Two convolutions with the time embedding added in between; residual."""

    def __init__(self, channels: int, emb_channels: int, out_channels: int) -> None:
        super().__init__()
        self.in_layers = nn.Sequential(
            nn.GroupNorm(32, channels), nn.SiLU(), nn.Conv2d(channels, out_channels, 3, padding=1)
        )
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(emb_channels, out_channels))
        self.out_layers = nn.Sequential(
            nn.GroupNorm(32, out_channels),
            nn.SiLU(),
            nn.Identity(),
            _zeroed(nn.Conv2d(out_channels, out_channels, 3, padding=1)),
        )
        same = channels == out_channels
        self.skip_connection: nn.Module = nn.Identity() if same else nn.Conv2d(channels, out_channels, 1)

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        hidden = self.in_layers(x) + self.emb_layers(emb)[:, :, None, None]
        return self.skip_connection(x) + self.out_layers(hidden)


class Downsample(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.op = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.op(x)


class Upsample(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


class TimestepSequential(nn.Sequential):
    """A sequence whose members get what they need of (x, emb, context)."""

    def forward(self, x: Tensor, emb: Tensor, context: Tensor) -> Tensor:  # type: ignore[override]
        further: dict[type, tuple[Any, ...]] = {ResBlock: (emb,), SpatialTransformer: (context,)}
        for layer in self:
            x = layer(x, *further.get(type(layer), ()))
        return x


class UNetModel(nn.Module):
    """eps prediction of a latent: forward(x [B, 4, h, w], timesteps [B], context [B, T, D]) -> [B, 4, h, w].

    Arguments are named as in the ldm yaml files. ``attention_resolutions`` are downsampling factors,
    ``transformer_depth`` is one number or one for each level. Exactly one of ``num_heads`` and ``num_head_channels``
    is to be given (the other -1). ``adm_in_channels`` (SDXL) adds ``label_emb`` and needs ``y`` [B, adm] in forward.
    Other yaml keys that change nothing here (``image_size``, ``use_checkpoint``, ``legacy``...) are accepted.
    """

    def __init__(
        self,
        in_channels: int = 4,
        out_channels: int = 4,
        model_channels: int = 320,
        num_res_blocks: int = 2,
        attention_resolutions: Sequence[int] = (4, 2, 1),
        channel_mult: Sequence[int] = (1, 2, 4, 4),
        num_heads: int = -1,
        num_head_channels: int = -1,
        context_dim: int = 768,
        transformer_depth: int | Sequence[int] = 1,
        use_linear_in_transformer: bool = False,
        adm_in_channels: int | None = None,
        **ignored: Any,
    ) -> None:
        super().__init__()
        if (num_heads == -1) == (num_head_channels == -1):
            raise ValueError(
                f"Give one of num_heads and num_head_channels, the other -1; got {num_heads} and {num_head_channels}."
            )
        levels = len(channel_mult)
        depths = [transformer_depth] * levels if isinstance(transformer_depth, int) else list(transformer_depth)
        time_dim = model_channels * 4
        self.in_channels, self.out_channels, self.model_channels = in_channels, out_channels, model_channels
        self.context_dim, self.num_classes = context_dim, adm_in_channels and "sequential"
        self.time_embed = _mlp(model_channels, time_dim)
        if adm_in_channels is not None:
            self.label_emb = nn.Sequential(_mlp(adm_in_channels, time_dim))

        def transformer(channels: int, depth: int) -> SpatialTransformer:
            heads = num_heads if num_head_channels == -1 else channels // num_head_channels
            return SpatialTransformer(channels, heads, channels // heads, depth, context_dim, use_linear_in_transformer)

        def stage(channels: int, out: int, level: int) -> list[nn.Module]:
            layers: list[nn.Module] = [ResBlock(channels, time_dim, out)]
            if 2**level in attention_resolutions:
                layers.append(transformer(out, depths[level]))
            return layers

        channels = model_channels
        self.input_blocks = nn.ModuleList([TimestepSequential(nn.Conv2d(in_channels, channels, 3, padding=1))])
        skips = [channels]
        for level, mult in enumerate(channel_mult):
            for _ in range(num_res_blocks):
                self.input_blocks.append(TimestepSequential(*stage(channels, mult * model_channels, level)))
                channels = mult * model_channels
                skips.append(channels)
            if level < levels - 1:
                self.input_blocks.append(TimestepSequential(Downsample(channels)))
                skips.append(channels)

        self.middle_block = TimestepSequential(
            ResBlock(channels, time_dim, channels),
            transformer(channels, depths[-1]),
            ResBlock(channels, time_dim, channels),
        )

        self.output_blocks = nn.ModuleList()
        for level, mult in reversed(list(enumerate(channel_mult))):
            for index in range(num_res_blocks + 1):
                layers = stage(channels + skips.pop(), mult * model_channels, level)
                channels = mult * model_channels
                if level > 0 and index == num_res_blocks:
                    layers.append(Upsample(channels))
                self.output_blocks.append(TimestepSequential(*layers))

        self.out = nn.Sequential(
            nn.GroupNorm(32, channels), nn.SiLU(), _zeroed(nn.Conv2d(model_channels, out_channels, 3, padding=1))
        )

    @property
    def dtype(self) -> torch.dtype:
        return self.out[2].weight.dtype  # type: ignore[return-value]

    def forward(self, x: Tensor, timesteps: Tensor, context: Tensor, y: Tensor | None = None, **ignored: Any) -> Tensor:
        emb = self.time_embed(timestep_embedding(timesteps, self.model_channels).to(self.dtype))
        if self.num_classes is not None:
            if y is None:
                raise ValueError("This U-Net has a label embedding and got no y; pass y of shape [B, adm_in_channels].")
            emb = emb + self.label_emb(y.to(self.dtype))
        hidden, skips = x.to(self.dtype), []
        context = context.to(self.dtype)
        for block in self.input_blocks:
            hidden = block(hidden, emb, context)
            skips.append(hidden)
        hidden = self.middle_block(hidden, emb, context)
        for block in self.output_blocks:
            hidden = block(torch.cat([hidden, skips.pop()], dim=1), emb, context)
        return self.out(hidden).to(x.dtype)


def _mlp(dim_in: int, dim_out: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(dim_in, dim_out), nn.SiLU(), nn.Linear(dim_out, dim_out))


def _zeroed(module: nn.Module) -> nn.Module:
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module
