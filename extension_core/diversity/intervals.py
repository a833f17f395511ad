"""Bootstrap intervals: seeds are drawn again within each prompt, prompts stay as they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

Statistic = Callable[[np.ndarray], float]
"""A measure of one prompt's images: seed indices int [m], repeats allowed, to a number."""


@dataclass(frozen=True)
class Interval:
    """An estimate with the bounds of its bootstrap interval."""

    estimate: float
    low: float
    high: float

    def as_json(self) -> dict[str, float]:
        return {"estimate": round(self.estimate, 5), "low": round(self.low, 5), "high": round(self.high, 5)}

    def __str__(self) -> str:
        return f"{self.estimate:.3f} [{self.low:.3f}, {self.high:.3f}]"


@dataclass(frozen=True)
class Replicates:
    """An estimate (mean over prompts) and what it was in each bootstrap draw, float [repeats]."""

    estimate: float
    draws: np.ndarray

    def interval(self, level: float = 0.95) -> Interval:
        """Percentile interval of the draws, moved so that their mean is the estimate.

        Drawing again from n seeds shows fewer distinct values, so entropies of draws are low as a whole; without the
        move the interval would miss its own estimate.
        """
        tail = (1 - level) / 2
        usable = self.draws[np.isfinite(self.draws)]
        if not len(usable):
            return Interval(self.estimate, float("nan"), float("nan"))
        low, high = np.quantile(usable - usable.mean(), (tail, 1 - tail))
        return Interval(self.estimate, self.estimate + float(low), self.estimate + float(high))


def _mean(numbers: list[float]) -> float:
    finite = [number for number in numbers if np.isfinite(number)]
    return float(np.mean(finite)) if finite else float("nan")


def bootstrap(statistics: Sequence[Statistic], counts: Sequence[int], repeats: int = 1000, seed: int = 0) -> Replicates:
    """Mean over prompts of a statistic, and its bootstrap draws.

    statistics[i] measures prompt i, which has counts[i] images; prompts that cannot be measured (nan) are left out.
    """
    rng = np.random.default_rng(seed)
    pairs = list(zip(statistics, counts, strict=True))
    estimate = _mean([statistic(np.arange(count)) for statistic, count in pairs])
    measured = [(statistic, count) for statistic, count in pairs if count > 0]
    draws = [
        _mean([statistic(rng.integers(count, size=count)) for statistic, count in measured]) for _ in range(repeats)
    ]
    return Replicates(estimate, np.array(draws, dtype=np.float64))


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
