"""What the trainer draws from: pictures of one size with their captions, or prompts alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from extension_core.errors import DiversityError
from extension_core.training.data.cache import Cache, Entry
from extension_core.training.denoiser import Conditioning

_REMEMBERED = 4096  # conditionings in memory


class CachedData:
    """Pictures of one size; what `states.Data` calls a prompt is here a picture's number, as sizes go with captions.

    Args:
        sized: whether the networks are told sizes (SDXL).
    """

    def __init__(self, entries: Sequence[Entry], cache: Cache, sized: bool) -> None:
        self.entries, self._cache, self._sized = list(entries), cache, sized
        self._told = lru_cache(_REMEMBERED)(_read)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one latent, [C, h, w]."""
        return tuple(self._latent(0).shape)

    def draw(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Latents [count, C, h, w] and the number of each, int64 [count]."""
        chosen = self.draw_prompts(count, generator)
        return torch.stack([self._latent(index) for index in chosen.tolist()]), chosen

    def draw_prompts(self, count: int, generator: torch.Generator) -> Tensor:
        """Numbers of pictures, int64 [count]."""
        return torch.randint(0, len(self.entries), (count,), generator=generator)

    def conditioning(self, prompts: Tensor) -> Conditioning:
        """Of the captions of pictures int64 [n], each tensor [n, ...]; with `time_ids` [n, 6] where sizes are told."""
        entries = [self.entries[index] for index in prompts.tolist()]
        told = _stacked([self._told(self._cache.prompt_file(entry.prompt)) for entry in entries])
        return told | {"time_ids": torch.tensor([entry.told for entry in entries]).float()} if self._sized else told

    def _latent(self, index: int) -> Tensor:
        return load_file(self.entries[index].latent)["latent"].float()


class PromptsOnly:
    """Prompts without pictures, for methods whose states are rollouts.

    Args:
        shape: of one latent.
        told: what SDXL is told of sizes, none elsewhere.
    """

    def __init__(
        self, prompts: Sequence[str], cache: Cache, shape: tuple[int, ...], told: tuple[int, ...] | None
    ) -> None:
        self._files = [cache.prompt_file(prompt) for prompt in prompts]
        self.shape, self._sizes = shape, told
        self._told: Callable[[Path], Conditioning] = lru_cache(_REMEMBERED)(_read)

    def draw(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """There is nothing to draw.

        Raises:
            DiversityError: always.
        """
        raise DiversityError("This training needs pictures, and its data are prompts alone; give data.pictures.")

    def draw_prompts(self, count: int, generator: torch.Generator) -> Tensor:
        """Numbers of prompts, int64 [count]."""
        return torch.randint(0, len(self._files), (count,), generator=generator)

    def conditioning(self, prompts: Tensor) -> Conditioning:
        """Of prompts int64 [n], each tensor [n, ...]."""
        told = _stacked([self._told(self._files[index]) for index in prompts.tolist()])
        if self._sizes is None:
            return told
        return told | {"time_ids": torch.tensor([self._sizes]).float().expand(len(prompts), -1)}


def by_size(entries: Sequence[Entry], cache: Cache, sized: bool) -> list[CachedData]:
    """One for each size, the largest number of pictures first."""
    sorted_in: defaultdict[object, list[Entry]] = defaultdict(list)
    for entry in entries:
        sorted_in[entry.size].append(entry)
    return [CachedData(found, cache, sized) for found in sorted(sorted_in.values(), key=len, reverse=True)]


def _read(path: Path) -> dict[str, Tensor]:
    return {name: value.float() for name, value in load_file(path).items()}


def _stacked(told: Sequence[Conditioning]) -> dict[str, Tensor]:
    return {name: torch.stack([each[name] for each in told]) for name in told[0]}
