"""Students as a table: the mean over seeds with its bootstrap interval, and what differs from the plain method."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

Row = dict[str, Any]
MEASURES = ("coverage", "density", "energy", "frechet", "modes", "entropy")


def interval(values: Sequence[float], repeats: int = 4000) -> tuple[float, float, float]:
    """Mean, and both ends of its 95 % bootstrap interval."""
    drawn = np.random.default_rng(0).choice(np.asarray(values, float), (repeats, len(values))).mean(axis=1)
    return float(np.mean(values)), float(np.quantile(drawn, 0.025)), float(np.quantile(drawn, 0.975))


def _text(values: Sequence[float]) -> str:
    mean, low, high = interval(values)
    return f"{mean:.4g} [{low:.4g}, {high:.4g}]"


def table(rows: Sequence[Row]) -> str:
    """Markdown: one line for each mixture, number of steps, method and arm."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["mixture"], row["budget"], row["steps"], row["method"], row["arm"]), []).append(row)
    head = [
        "mixture",
        "rows",
        "steps",
        "method",
        "arm",
        "seeds",
        "updates",
        "s",
        *MEASURES,
        "shift",
        "coverage gained",
    ]
    lines = [head, ["---"] * len(head)]
    for key, found in groups.items():
        plain = {row["seed"]: row["coverage"] for row in groups.get((*key[:4], "plain"), [])}
        gained = [row["coverage"] - plain[row["seed"]] for row in found if row["seed"] in plain]
        cost = [str(len(found)), f"{np.mean([row['updates'] for row in found]):.0f}"]
        cost.append(f"{np.mean([row['seconds'] for row in found]):.1f}")
        figures = [_text([row[name] for row in found]) for name in MEASURES]
        shift = _text([row["shift"][-1] for row in found])
        lines.append([*map(str, key), *cost, *figures, shift, _text(gained) if gained else ""])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"
