"""Bootstrap intervals: seeds are drawn again within each prompt, prompts stay as they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Statistic = Callable[[NDArray[Any]], NDArray[Any]]
"""A measure of one prompt's images: weights float [r, n], how often each of n seeds counts, to r numbers [r]."""


def json_number(value: float) -> float | None:
    """The value to five digits after the point, or None (JSON's null) where there is none (nan)."""
    return round(value, 5) if np.isfinite(value) else None


@dataclass(frozen=True)
class Interval:
    """An estimate with the bounds of its bootstrap interval."""

    estimate: float
    low: float
    high: float

    def as_json(self) -> dict[str, float | None]:
        return {name: json_number(getattr(self, name)) for name in ("estimate", "low", "high")}

    def __str__(self) -> str:
        return f"{self.estimate:.3f} [{self.low:.3f}, {self.high:.3f}]"


@dataclass(frozen=True)
class Replicates:
    """An estimate (mean over prompts) and what it was in each bootstrap draw, float [repeats]."""

    estimate: float
    draws: NDArray[Any]

    def interval(self, level: float = 0.95) -> Interval:
        """Percentile interval of the draws, moved so that their mean is the estimate.

        Drawing again from n seeds shows fewer distinct values, so entropies of draws are low as a whole; without the
        move the interval would miss its own estimate.
        """
        tail = (1 - level) / 2
        usable = self.draws[np.isfinite(self.draws)]
        if not len(usable):
            return Interval(self.estimate, float("nan"), float("nan"))
        moved: NDArray[np.float64] = usable - usable.mean()
        low, high = (float(np.quantile(moved, share)) for share in (tail, 1 - tail))
        return Interval(self.estimate, self.estimate + low, self.estimate + high)


def _mean_over_prompts(rows: list[NDArray[Any]], repeats: int) -> NDArray[Any]:
    """Mean over prompts of rows [prompts, r], leaving out those that are nan: [r]."""
    table = np.array(rows, dtype=np.float64).reshape(len(rows), repeats)
    measured = np.isfinite(table)
    count = measured.sum(axis=0)
    return np.where(measured, table, 0.0).sum(axis=0) / np.where(count > 0, count, np.nan)


def bootstrap(statistics: Sequence[Statistic], counts: Sequence[int], repeats: int = 1000, seed: int = 0) -> Replicates:
    """Mean over prompts of a statistic, and its bootstrap draws.

    statistics[i] measures prompt i, which has counts[i] images; prompts that cannot be measured (nan) are left out.
    """
    rng = np.random.default_rng(seed)
    pairs = [(statistic, count) for statistic, count in zip(statistics, counts, strict=True) if count > 0]
    estimate = _mean_over_prompts([statistic(np.ones((1, count))) for statistic, count in pairs], 1)
    draws = [
        statistic(rng.multinomial(count, np.full(count, 1 / count), size=repeats).astype(np.float64))
        for statistic, count in pairs
    ]
    return Replicates(float(estimate[0]), _mean_over_prompts(draws, repeats))


def share_of_gap(base: Replicates, distilled: Replicates, other: Replicates) -> Replicates:
    """How much of what distillation lost came back: (other - distilled) / (base - distilled), with its draws."""
    gap = base.estimate - distilled.estimate
    estimate = (other.estimate - distilled.estimate) / gap if gap else float("nan")
    gaps = base.draws - distilled.draws
    safe = np.where(gaps == 0, np.nan, gaps)
    return Replicates(estimate, (other.draws - distilled.draws) / safe)


def difference(first: Replicates, second: Replicates) -> Replicates:
    """First - second, with its draws."""
    return Replicates(first.estimate - second.estimate, first.draws - second.draws)
