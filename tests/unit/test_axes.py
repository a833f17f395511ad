"""The options as axes of an X/Y/Z plot: labels, values as they are typed, legends."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from extension_core.errors import DiversityError
from extension_core.options.axes import AXES, MOST_VALUES, PREFIX, Axis
from extension_core.options.hybrid import BY_NAME, FIELDS, Options

pytestmark = pytest.mark.once  # imports nothing whose version differs between the stacks

BY_OPTION = {axis.spec.name: axis for axis in AXES}
# Infotexts of plots hold them, and users' notes.
LABELS = ("Enabled", "Distilled model", "Family", "Mode", "Switch step", "Base steps", "Base CFG", "Distilled CFG",
          "Base sampler", "Schedule", "Text encoder", "Passes", "LoRA strength", "LoRA targets", "Base LoRA factor",
          "Distilled LoRA factor", "Carry from", "Carry strength", "Residency", "Grid diversity")  # fmt: skip


def values(name: str, text: str) -> list[Any]:
    axis = BY_OPTION[name]
    return [axis.read(value) for value in axis.values(text)]


def test_every_option_has_its_axis_and_labels_are_frozen() -> None:
    assert [axis.spec for axis in AXES] == list(FIELDS)
    assert [axis.label for axis in AXES][: len(LABELS)] == [f"{PREFIX} {label}" for label in LABELS]
    assert len({axis.label for axis in AXES}) == len(AXES)


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("switch_step", "0-4", [0, 1, 2, 3, 4]),
        ("switch_step", "0, 2 ,4,", [0, 2, 4]),
        ("switch_step", "0-4 (+2)", [0, 2, 4]),
        ("switch_step", "4-0", [4, 3, 2, 1, 0]),
        ("switch_step", "4-0(-2)", [4, 2, 0]),
        ("switch_step", "0-4 [3], 9", [0, 2, 4, 9]),
        ("switch_step", "1-1", [1]),
        ("base_steps", "same, 1-2", [None, 1, 2]),
        ("base_cfg", "1.0-7.0 (+1.5)", [1.0, 2.5, 4.0, 5.5, 7.0]),
        ("base_cfg", "1-2 (+.3)", [1.0, 1.3, 1.6, 1.9]),
        ("base_cfg", "1-2 [5]", [1.0, 1.25, 1.5, 1.75, 2.0]),
        ("base_cfg", "1e1", [10.0]),
        ("carry_strength", "0-1 [2]", [0.0, 1.0]),
    ],
)
def test_values_as_they_are_typed(name: str, text: str, expected: list[Any]) -> None:
    assert values(name, text) == expected


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("switch_step", "", "has no values; write some, such as 0-4"),
        ("switch_step", " , ", "has no values"),
        ("switch_step", "one", "switch_step of Diversity Distillation is 'one'; it must be a whole number from 0 to"),
        ("switch_step", "1.5", "must be a whole number"),
        ("switch_step", "-1", "switch_step of Diversity Distillation is '-1'"),
        ("switch_step", "0-200", "is '151'; it must be"),
        ("switch_step", "0-4 (-1)", "a range must lead from its first value to its last"),
        ("switch_step", "0-4 (+0)", "a range must lead from its first value to its last"),
        ("switch_step", "0-99999999", "a range of 100000000 values; a range must have 1 to 1000"),
        ("switch_step", "0-4 [0]", "a range of 0 values"),
        ("base_cfg", f"0-{'9' * 400}", "; it must be a number from 0 to 100"),
        ("base_cfg", "1,5 - ", "base_cfg of Diversity Distillation is '5 -'; it must be a number from 0 to 100"),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_sentence(name: str, text: str, sentence: str) -> None:
    with pytest.raises(DiversityError, match=re.escape(sentence)):
        values(name, text)


@given(st.integers(-50, 50), st.integers(0, 60), st.integers(1, 7))
def test_ranges_are_numpys(first: int, length: int, step: int) -> None:
    """The oracle of the host's own ranges of numbers, less what it overshoots."""
    found = BY_OPTION["base_cfg"].values(f"{first}-{first + length} (+{step})")
    assert np.array_equal([float(x) for x in found], np.arange(first, first + length + 1e-9, step))


@given(st.integers(0, 150), st.integers(0, 150), st.integers(1, 50))
def test_counts_are_numpys(first: int, last: int, count: int) -> None:
    found = BY_OPTION["switch_step"].values(f"{first}-{last} [{count}]")
    ideal = np.linspace(first, last, count)
    assert all(int(x) in (int(y), int(y + 1e-9), int(y - 1e-9)) for x, y in zip(found, ideal, strict=True))


@given(st.sampled_from([axis for axis in AXES if axis.is_number]), st.text(alphabet="0123456789.,-+()[] samex\n"))
def test_anything_typed_is_taken_or_refused(axis: Axis, text: str) -> None:
    try:
        found = [axis.read(value) for value in axis.values(text)]
    except DiversityError as error:
        said = str(error)
    else:
        said = "taken"
        assert 0 < len(found) <= MOST_VALUES * len(text)
    assert "\n" not in said


@pytest.mark.parametrize("axis", AXES, ids=lambda axis: axis.label)
def test_legends_tell_values_apart_and_are_short(axis: Axis) -> None:
    spec = axis.spec
    samples = {
        "flag": [True, False],
        "model": ["", "sdxl/dmd2_4step.safetensors [0123456789]", "U-Net: unet/hyper.safetensors", "LoRA: lcm, v1"],
        "choice": list(spec.choices),
        "sampler": ["same", "DPM++ 2M"],
        "whole": [0, 4],
        "whole_or_null": [None, 3],
        "number": [1.0, 2.5],
    }[spec.kind]
    shown = [axis.title(value) for value in samples]
    assert len(set(shown)) == len(shown)
    assert all(0 < len(title) <= 32 and title == title.strip() for title in shown)
    assert axis.title("x" * 99).endswith("…") or spec.kind == "flag"


def test_legends_read_well() -> None:
    title = lambda name, value: BY_OPTION[name].title(value)  # noqa: E731
    assert title("switch_step", 2) == "k: 2"
    assert title("base_steps", None) == "N: same"
    assert title("base_cfg", 7.0) == "base CFG: 7"
    assert title("distilled_model", "sdxl/dmd2_4step.safetensors [0123456789]") == "dmd2_4step"
    assert title("distilled_model", "U-Net: unet/hyper.safetensors") == "hyper"
    assert title("mode", "skip_first") == "skip_first"
    assert (title("enabled", True), title("enabled", False)) == ("diversity", "no diversity")


def test_models_stay_outermost() -> None:
    """The host's checkpoint axis has 1.0, its VAE axis 0.7."""
    costs = {axis.spec.name: axis.spec.cost for axis in AXES}
    assert max(costs, key=costs.__getitem__) == "distilled_model"
    assert 0.7 < costs["carry_from"] < costs["distilled_model"] < 1
    assert costs["switch_step"] == costs["base_cfg"] == costs["mode"] == 0
    assert set(costs) == set(BY_NAME) == set(Options().as_mapping())
