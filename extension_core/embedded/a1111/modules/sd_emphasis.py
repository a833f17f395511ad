"""What weights of words do to the text encoder's output."""

from __future__ import annotations

from typing import Any

import torch


class Emphasis:
    """`z` [B, T, D] is the encoder's output, `multipliers` [B, T] the words' weights; `after_transformers` changes
    `z`.
    """

    name = "Base"
    description = ""
    tokens: list[list[int]]
    multipliers: torch.Tensor
    z: Any

    def after_transformers(self) -> None:
        return None


class EmphasisNone(Emphasis):
    name = "None"
    description = "disable the mechanism entirely and treat (:.1.1) as literal characters"


class EmphasisIgnore(Emphasis):
    name = "Ignore"
    description = "treat all empasised words as if they have no emphasis"


class EmphasisOriginalNoNorm(Emphasis):
    name = "No norm"
    description = "same as original, but without normalization (seems to work better for SDXL)"

    def after_transformers(self) -> None:
        self.z = self.z * self.multipliers.reshape((*self.multipliers.shape, 1)).expand(self.z.shape)


class EmphasisOriginal(EmphasisOriginalNoNorm):
    name = "Original"
    description = "the original emphasis implementation"

    def after_transformers(self) -> None:
        """The mean over the whole batch of chunks is kept."""
        mean = self.z.mean()
        super().after_transformers()
        self.z = self.z * (mean / self.z.mean())


options: list[type[Emphasis]] = [EmphasisNone, EmphasisIgnore, EmphasisOriginal, EmphasisOriginalNoNorm]


def get_current_option(emphasis_option_name: str) -> type[Emphasis]:
    return next((x for x in options if x.name == emphasis_option_name), EmphasisOriginal)


def get_options_descriptions() -> str:
    return ", ".join(f"{x.name}: {x.description}" for x in options)
