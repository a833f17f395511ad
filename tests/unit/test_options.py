"""The one argument class: what it accepts, what it refuses and how it says so."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extension_core.errors import DiversityError
from extension_core.options import BY_NAME, FIELDS, Field, Options, parse_value

API_KEYS = ("enabled", "distilled_model", "family", "mode", "switch_step", "base_steps", "base_cfg", "distilled_cfg",
            "base_sampler", "schedule", "text_encoder", "passes", "lora_strength", "lora_targets",
            "base_lora_factor", "distilled_lora_factor", "carry_from", "carry_strength")  # fmt: skip


def valid(spec: Field) -> st.SearchStrategy[Any]:
    """Values that a field must accept."""
    if spec.kind == "flag":
        return st.booleans()
    if spec.kind == "choice":
        return st.sampled_from(spec.choices)
    if spec.kind in ("model", "sampler"):
        return st.text(min_size=1).filter(lambda t: t == t.strip() and t.lower() not in ("none", ""))
    if spec.kind == "number":
        return st.floats(spec.minimum, spec.maximum)
    whole = st.integers(int(spec.minimum), int(spec.maximum))
    return whole if spec.kind == "whole" else st.none() | whole


def settings() -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional={spec.name: valid(spec) for spec in FIELDS})


def test_order_of_positions_is_frozen() -> None:
    """API clients lay values by position; fields may only be appended."""
    assert tuple(spec.name for spec in FIELDS)[: len(API_KEYS)] == API_KEYS


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


@given(settings())
def test_positional_equals_mapping(values: dict[str, Any]) -> None:
    options = Options.from_mapping(values)
    assert Options.from_args(tuple(options.as_mapping().values())) == options


@given(st.text().filter(lambda key: key not in BY_NAME))
def test_unknown_key_names_the_nearest(key: str) -> None:
    with pytest.raises(DiversityError, match="did you mean '"):
        Options.from_mapping({key: 1})


def test_a_dict_without_enabled_counts_as_enabled() -> None:
    assert Options.from_args([{"mode": "base"}]).enabled
    assert not Options.from_args([{"enabled": False}]).enabled
    assert not Options.from_args([]).enabled


def test_surplus_positions_are_refused() -> None:
    with pytest.raises(DiversityError, match=f"at most {len(FIELDS)} positional"):
        Options.from_args([False] * (len(FIELDS) + 1))


ANYTHING = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers()) | st.binary()


@given(st.sampled_from(FIELDS), ANYTHING)
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
    assert Options.from_args(page[: position + 1]).base_steps is None
    with pytest.raises(
        DiversityError, match="base_steps of Diversity Distillation is 0; it must be a whole number from 1"
    ):
        Options.from_mapping({"base_steps": 0})
