"""The data that a configuration names, encoded by its checkpoint."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from extension_core.training.data.buckets import Size, sizes_of
from extension_core.training.data.cache import Cache
from extension_core.training.data.cached import PromptsOnly, by_size
from extension_core.training.data.pictures import Picture, from_folder, from_parquet, from_shards, read_prompts
from extension_core.training.denoiser import Conditioning
from extension_core.training.draws import seeded
from extension_core.training.networks.checkpoint import Checkpoint
from extension_core.training.networks.text import TextEncoders
from extension_core.training.networks.vae import LatentCodec
from extension_core.training.run.assembly import Sized
from extension_core.training.run.config import Config, DataConfig
from extension_core.training.threshold import LatentRange

_MEASURED = 1024  # latents on which the range of a threshold is measured


class PairEncoder:
    """A checkpoint's autoencoder and text encoders, as the cache asks them (data/cache.py)."""

    def __init__(self, checkpoint: Checkpoint, text: TextEncoders, codec: LatentCodec) -> None:
        self._text, self._codec = text, codec
        told = [checkpoint.name, str(checkpoint.header.state), json.dumps(dict(checkpoint.description), default=str)]
        self.identity = hashlib.sha256("\0".join([*told, str(checkpoint.tokenizer)]).encode()).hexdigest()

    def encode_picture(self, pixels: Tensor, generator: torch.Generator) -> Tensor:
        """Latent [C, h, w] of a picture [3, H, W]."""
        return self._codec.encode(pixels[None], generator)[0]

    def encode_prompt(self, prompt: str) -> Conditioning:
        """Of one prompt, without rows."""
        return {name: value[0] for name, value in self._text.encode([prompt]).items()}


def sizes_for(config: Config) -> list[Size]:
    """Those that the pictures of a training are brought to."""
    return sizes_of(config.data.resolution, config.data.step)


def data_of(
    config: Config, checkpoint: Checkpoint, cache: Cache, codec: LatentCodec, progress: Callable[[int], None]
) -> list[Sized]:
    """The data of every size, encoded where they were not yet.

    Raises:
        DiversityError: they cannot be used.
    """
    is_told_sizes = checkpoint.architecture == "sdxl"
    if config.data.prompts is None:
        entries = cache.add(_pictures(config.data), config.data.skip_bad, progress)
        return [Sized(data, len(data.entries)) for data in by_size(entries, cache, is_told_sizes)]
    prompts = read_prompts(config.data.prompts)
    shape, told = square(config, codec)
    return [Sized(PromptsOnly(prompts, cache, shape, told if is_told_sizes else None), len(prompts))]


def square(config: Config, codec: LatentCodec) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The latent of a square picture [C, h, w], and what SDXL is told of it."""
    side = next(size.height for size in sizes_for(config) if size.height == size.width)
    return (codec.channels, side // codec.shrinks, side // codec.shrinks), (side, side, 0, 0, side, side)


def _pictures(asked: DataConfig) -> Iterable[Picture]:
    if asked.pictures is not None:
        return from_folder(asked.pictures, asked.captions)
    if asked.shards is not None:
        return from_shards(asked.shards, asked.captions)
    assert asked.parquet is not None, "the configuration has one source"
    return from_parquet(asked.parquet, asked.captions)


def range_of(config: Config, sizes: Iterable[Sized]) -> LatentRange | None:
    """The range of the data's latents, where a threshold wants one."""
    if config.threshold.kind == "none":
        return None
    channels: list[Tensor] = []
    for index, size in enumerate(sizes):
        latents, _ = size.data.draw(min(size.pictures, _MEASURED), seeded(config.course.seed, index))
        channels.append(latents.transpose(0, 1).flatten(1))
    return LatentRange.of(torch.cat(channels, dim=1).T, config.threshold.quantile)
