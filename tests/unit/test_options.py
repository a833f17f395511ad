"""The arguments: what they accept, what they refuse and how they say so."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extension_core.errors import DiversityError
from extension_core.options.fields import Field, parse_value
from extension_core.options.hybrid import BY_NAME, FIELDS, Options
from extension_core.options.positions import POSITIONS, Arguments, options_of_page
from extension_core.options.preview import BY_KEY, PAGE_FIELDS, PREVIEW_FIELDS, PreviewOptions

pytestmark = pytest.mark.once  # imports nothing whose version differs between the stacks

API_KEYS = ("enabled", "distilled_model", "family", "mode", "switch_step", "base_steps", "base_cfg", "distilled_cfg",
            "base_sampler", "schedule", "text_encoder", "passes", "lora_strength", "lora_targets",
            "base_lora_factor", "distilled_lora_factor", "carry_from", "carry_strength", "residency", "dt.preview",
            "dt.every", "dt.timesteps", "dt.decoder", "dt.save", "dt.gallery", "dt.page")  # fmt: skip


def valid(spec: Field) -> st.SearchStrategy[Any]:
    """Values that a field must accept."""
    if spec.kind == "flag":
        return st.booleans()
    if spec.kind == "choice":
        return st.sampled_from(spec.choices)
    if spec.kind in ("model", "sampler"):
        return st.text(min_size=1).filter(lambda t: t == t.strip() and t.lower() not in ("none", ""))
    if spec.kind == "text":
        return st.text()
    if spec.kind == "frames":
        return st.none() | st.lists(st.integers()).map(tuple)
    if spec.kind == "number":
        return st.floats(spec.minimum, spec.maximum)
    if spec.kind == "numbers":
        return st.lists(st.floats(spec.minimum, spec.maximum)).map(tuple)
    whole = st.integers(int(spec.minimum), int(spec.maximum))
    return whole if spec.kind == "whole" else st.none() | whole


def settings() -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional={spec.name: valid(spec) for spec in FIELDS})


def preview_settings() -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional={spec.api_key: valid(spec) for spec in PREVIEW_FIELDS})


def test_order_of_positions_is_frozen() -> None:
    """API clients lay values by position; names may only be appended."""
    assert POSITIONS[: len(API_KEYS)] == API_KEYS
    own, previews = {spec.name for spec in FIELDS}, {f"dt.{spec.name}" for spec in PAGE_FIELDS}
    assert sorted(POSITIONS) == sorted(own | previews)


def test_defaults_reproduce_the_paper() -> None:
    options = Options()
    assert (options.mode, options.switch_step, options.base_steps) == ("hybrid", 1, None)
    assert (options.base_cfg, options.distilled_cfg, options.base_sampler) == (1.0, 1.0, "same")


@given(settings())
def test_mapping_round_trip(values: dict[str, Any]) -> None:
    options = Options.from_mapping(values)
    assert Options.from_mapping(options.as_mapping()) == options
    for name, value in values.items():
        assert getattr(options, name) == value


@given(settings(), preview_settings())
def test_positional_equals_mapping(values: dict[str, Any], preview: dict[str, Any]) -> None:
    asked = Arguments.read([{"enabled": False, **values, "dt": {"preview": False, **preview}}])
    by_name = {**asked.options.as_mapping(), **{f"dt.{s.name}": getattr(asked.preview, s.name) for s in PAGE_FIELDS}}
    placed = Arguments.read([by_name[name] for name in POSITIONS])
    assert placed.options == asked.options
    assert all(getattr(placed.preview, spec.name) == getattr(asked.preview, spec.name) for spec in PAGE_FIELDS)
    for key, value in preview.items():
        assert getattr(asked.preview, BY_KEY[key].name) == value


def test_the_previews_arguments_are_a_dict_of_their_own() -> None:
    assert Arguments.read([{"dt": True}]).preview == PreviewOptions(preview=True)
    assert Arguments.read([{"dt": {"return": True}}]).preview == PreviewOptions(preview=True, returned=True)
    assert not Arguments.read([{}]).preview.preview
    assert not Arguments.read([{"dt": {"preview": False}}]).preview.preview
    assert Arguments.read([{"dt": {"timesteps": "900, 700,"}}]).preview.timesteps == (900.0, 700.0)
    with pytest.raises(DiversityError, match=r"does not know the argument 'dt\.retrun'; did you mean 'dt\.return'"):
        Arguments.read([{"dt": {"retrun": True}}])
    with pytest.raises(DiversityError, match="dt of Diversity Distillation is 3; it must be a dict"):
        Arguments.read([{"dt": 3}])
    for frames in ([0.5], "some", [True], 1):
        with pytest.raises(DiversityError, match=r'frames of .* must be "all" or a list of whole numbers'):
            Arguments.read([{"dt": {"frames": frames}}])


@given(st.text().filter(lambda key: key not in BY_NAME))
def test_unknown_key_names_the_nearest(key: str) -> None:
    with pytest.raises(DiversityError, match="did you mean '"):
        Options.from_mapping({key: 1})


def test_a_dict_without_enabled_counts_as_enabled() -> None:
    assert Arguments.read([{"mode": "base"}]).options.enabled
    assert not Arguments.read([{"enabled": False}]).options.enabled
    assert not Arguments.read([]).options.enabled


def test_surplus_positions_are_refused() -> None:
    with pytest.raises(DiversityError, match=f"at most {len(POSITIONS)} positional"):
        Arguments.read([False] * (len(POSITIONS) + 1))


ANYTHING = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers()) | st.binary()


@given(st.sampled_from([*FIELDS, *PREVIEW_FIELDS]), ANYTHING)
def test_any_value_is_taken_or_refused_in_one_sentence(spec: Field, value: Any) -> None:
    try:
        parsed = parse_value(spec, value)
    except DiversityError as error:
        refused = str(error)
    else:
        refused = ""
        assert parse_value(spec, parsed) == parsed
        assert spec.kind != "number" or math.isfinite(parsed)
    assert not refused or (spec.name in refused and "must be" in refused)


def test_zero_base_steps_on_the_page_means_same_as_k() -> None:
    """Only on the page, whose slider cannot be empty."""
    position = [spec.name for spec in FIELDS].index("base_steps")
    page = [False, "None", "auto", "hybrid", 1, 0]
    assert Arguments.read(page[: position + 1]).options.base_steps is None
    whole = list(Options().as_mapping().values())
    assert options_of_page([*whole[:position], 0, *whole[position + 1 :]]) == Options()
    with pytest.raises(
        DiversityError, match="base_steps of Diversity Distillation is 0; it must be a whole number from 1"
    ):
        Options.from_mapping({"base_steps": 0})
