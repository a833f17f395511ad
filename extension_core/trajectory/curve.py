"""The structure curve: how far each frame is from the last one (arXiv 2503.10637, Fig. 5)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from extension_core.errors import first_line
from extension_core.measures import available_measures, paired_distances
from extension_core.measures.perceptual import MEASURES

BUILT_IN = "structural"


@dataclass(frozen=True, eq=False)
class Curve:
    """Distances to the last frame.

    Attributes:
        measure: "lpips", "dreamsim" or "structural"; say it beside the curve.
        distances: float64 [n, steps], 0 at the last step.
        note: why it is not the measure one would expect, "" if it is.
    """

    measure: str
    distances: NDArray[Any]
    note: str = ""


def best_measure() -> str:
    """LPIPS, else DreamSim, where installed, else the built-in one."""
    here = available_measures()
    return next((name for name in MEASURES if name != BUILT_IN and name in here), BUILT_IN)


def structure_curve(pictures: NDArray[Any], measure: str | None = None) -> Curve:
    """Distance of each of a section's frames to its last one, uint8 [steps, n, h, w, 3], for each image.

    Without a measure the best one is taken, and the built-in one where that cannot fetch its weights.

    Raises:
        ValueError: the measure does not exist or is not installed, or there is no step.
    """
    if len(pictures) == 0:
        raise ValueError("a curve needs at least one frame")
    if measure is not None:
        return Curve(measure, _to_last(pictures, measure))
    best = best_measure()
    try:
        return Curve(best, _to_last(pictures, best))
    except (OSError, ImportError, RuntimeError) as error:
        if best == BUILT_IN:
            raise
        return Curve(BUILT_IN, _to_last(pictures, BUILT_IN), f"{best} cannot be used: {first_line(error)}.")


def _to_last(pictures: NDArray[Any], measure: str) -> NDArray[Any]:
    steps, n = pictures.shape[:2]
    distances = paired_distances(pictures.reshape(steps * n, *pictures.shape[2:]), pictures[-1], measure)
    return distances.reshape(steps, n).T
