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
    description = "brackets and numbers are text like any other"


class EmphasisIgnore(Emphasis):
    name = "Ignore"
    description = "brackets are taken out, and every word weighs the same"


class EmphasisOriginalNoNorm(Emphasis):
    name = "No norm"
    description = "as Original, but the mean may move"

    def after_transformers(self) -> None:
        self.z = self.z * self.multipliers[..., None].expand(self.z.shape)


class EmphasisOriginal(EmphasisOriginalNoNorm):
    name = "Original"
    description = "words are scaled by their weights, and the mean is kept"

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
