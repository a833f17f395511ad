"""Measures several prompts' images at once and says them as JSON and as text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .attributes import Values, adherence, attribute_differences, attribute_entropies
from .intervals import Replicates, Statistic, bootstrap, share_of_gap
from .perceptual import distance_matrix, pairwise_means


@dataclass(frozen=True)
class PromptImages:
    """One prompt's images over seeds, what was read from them, and what the prompt asks for and leaves open.

    images uint8 [n, h, w, 3]; values name -> int [n]; required name -> value; free name -> number of possible values.
    values["legible"], where there is one, is 1 for images in which something could be read at all.
    """

    prompt: str
    images: NDArray[Any]
    values: Values
    required: Mapping[str, int]
    free: Mapping[str, int]

    def follows(self) -> NDArray[Any]:
        """Which images are legible and show all that the prompt asks for: bool [n]."""
        legible = {"legible": 1} if "legible" in self.values else {}
        return adherence(self.values, {**self.required, **legible})


@dataclass(frozen=True)
class Measured:
    """Measures of a set of prompts; diversity is that of the images that follow their prompt.

    entropy: mean marginal entropy of free attributes, nats. differing: mean share of free attributes in which two
    seeds differ. perceptual: mean pairwise distance. adherence: share of images that follow.
    """

    prompts: int
    images: int
    adherence: Replicates
    entropy: Replicates
    differing: Replicates
    perceptual: Replicates

    def as_json(self) -> dict[str, object]:
        named = ("adherence", "entropy", "differing", "perceptual")
        intervals = {name: getattr(self, name).interval().as_json() for name in named}
        return {"prompts": self.prompts, "images": self.images, **intervals}


def _chosen_values(values: Values, chosen: NDArray[Any]) -> dict[str, NDArray[Any]]:
    return {name: column[chosen] for name, column in values.items()}


def _entropies_of(values: Values, free: Mapping[str, int], weights: NDArray[Any]) -> NDArray[Any]:
    several = (weights > 0).sum(axis=1) > 1
    return np.where(several, attribute_entropies(values, free, weights), np.nan)


def _shares_of(flags: NDArray[Any], weights: NDArray[Any]) -> NDArray[Any]:
    return weights @ flags.astype(np.float64) / weights.sum(axis=1)


def measure(
    sets: Sequence[PromptImages], perceptual_measure: str = "structural", repeats: int = 1000, seed: int = 0
) -> Measured:
    """Measure prompts' images, with bootstrap draws over seeds within each prompt.

    Raises ValueError when there is nothing to measure or a prompt leaves nothing free.
    """
    if not sets:
        raise ValueError("no prompts were given, so there is nothing to measure")
    follows = [item.follows() for item in sets]
    kept = [_chosen_values(item.values, flags) for item, flags in zip(sets, follows, strict=True)]
    counts = [int(flags.sum()) for flags in follows]
    distances = [
        distance_matrix(item.images[flags], perceptual_measure) for item, flags in zip(sets, follows, strict=True)
    ]
    differences = [attribute_differences(values, item.free) for item, values in zip(sets, kept, strict=True)]

    def draws(statistics: Sequence[Statistic], sizes: Sequence[int]) -> Replicates:
        return bootstrap(statistics, sizes, repeats, seed)

    return Measured(
        prompts=len(sets),
        images=sum(len(flags) for flags in follows),
        adherence=draws([partial(_shares_of, flags) for flags in follows], [len(flags) for flags in follows]),
        entropy=draws([partial(_entropies_of, v, item.free) for item, v in zip(sets, kept, strict=True)], counts),
        differing=draws([partial(pairwise_means, matrix) for matrix in differences], counts),
        perceptual=draws([partial(pairwise_means, matrix) for matrix in distances], counts),
    )


def compare(results: Mapping[str, Measured], base: str = "base", distilled: str = "distilled") -> dict[str, object]:
    """JSON of every result; those beside base and distilled also say their share of the gap between these two."""
    report: dict[str, object] = {}
    for name, measured in results.items():
        entry = measured.as_json()
        if name not in (base, distilled) and base in results and distilled in results:
            entry["share_of_gap"] = {
                what: share_of_gap(
                    getattr(results[base], what), getattr(results[distilled], what), getattr(measured, what)
                )
                .interval()
                .as_json()
                for what in ("entropy", "differing", "perceptual")
            }
        report[name] = entry
    return report


def text_table(results: Mapping[str, Measured]) -> str:
    """A table in Markdown: one row for each result, estimates with 95 % intervals."""
    columns: dict[str, Callable[[Measured], Replicates]] = {
        "follow the prompt": lambda m: m.adherence,
        "attribute entropy (nats)": lambda m: m.entropy,
        "attributes that differ": lambda m: m.differing,
        "perceptual distance": lambda m: m.perceptual,
    }
    lines = ["| | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for name, measured in results.items():
        cells = [str(pick(measured).interval()) for pick in columns.values()]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"
