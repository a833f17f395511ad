"""The structure curve: distances to the last frame, and which measure they are in."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedded.monsters import make_dataset
from extension_core.measures import distance_matrix
from extension_core.trajectory import curve
from extension_core.trajectory.curve import best_measure, structure_curve

pytestmark = pytest.mark.once  # imports nothing whose version differs between the stacks


def blends(steps: int, n: int = 2, side: int = 64) -> np.ndarray:
    """Noise that becomes a monster: uint8 [steps, n, side, side, 3]."""
    monsters = make_dataset(n, 0)[0][:, :side, :side].astype(np.float32)
    noise = np.random.default_rng(0).uniform(0, 255, monsters.shape)
    shares = np.linspace(0, 1, steps)[:, None, None, None, None] if steps > 1 else np.ones((1, 1, 1, 1, 1))
    return (noise * (1 - shares) + monsters * shares).round().astype(np.uint8)


def test_an_image_that_forms_comes_steadily_nearer() -> None:
    drawn = structure_curve(blends(8), "structural")
    assert drawn.distances.shape == (2, 8)
    assert (np.diff(drawn.distances, axis=1) < 0).all()
    assert drawn.distances[:, -1] == pytest.approx([0, 0], abs=1e-6)
    assert drawn.measure == "structural"


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 5), st.integers(1, 3), st.integers(0, 99))
def test_distances_are_those_of_the_measure(steps: int, n: int, seed: int) -> None:
    pictures = np.random.default_rng(seed).integers(0, 256, (steps, n, 24, 40, 3), dtype=np.uint8)
    drawn = structure_curve(pictures, "structural").distances
    for image in range(n):
        assert drawn[image] == pytest.approx(distance_matrix(pictures[:, image])[-1], abs=1e-5)


def test_the_best_installed_measure_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    for here, best in (
        (("structural",), "structural"),
        (("structural", "dreamsim"), "dreamsim"),
        (("structural", "lpips", "dreamsim"), "lpips"),
    ):
        monkeypatch.setattr(curve, "available_measures", lambda here=here: here)
        assert best_measure() == best


def test_a_measure_without_its_weights_gives_way_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    real = curve.paired_distances

    def offline(first: np.ndarray, second: np.ndarray, measure: str) -> np.ndarray:
        if measure == "lpips":
            raise OSError("no network")
        return real(first, second, measure)

    monkeypatch.setattr(curve, "available_measures", lambda: ("structural", "lpips"))
    monkeypatch.setattr(curve, "paired_distances", offline)
    drawn = structure_curve(blends(3))
    assert (drawn.measure, drawn.note) == ("structural", "lpips cannot be used: no network.")
    with pytest.raises(OSError, match="no network"):
        structure_curve(blends(3), "lpips")


def test_what_cannot_be_measured_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one frame"):
        structure_curve(blends(2)[:0])
    with pytest.raises(ValueError, match="does not exist"):
        structure_curve(blends(2), "fid")
