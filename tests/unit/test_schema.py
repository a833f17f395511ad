"""The JSON schema of the arguments: what it calls valid is accepted, and the other way round."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, FormatChecker

from extension_core.errors import DiversityError
from extension_core.options.fields import Field, parse_value
from extension_core.options.hybrid import FIELDS, Options
from extension_core.options.positions import POSITIONS, PREVIEW, Arguments
from extension_core.options.preview import PREVIEW_FIELDS, PreviewOptions
from extension_core.options.schema import arguments_schema, field_schema, for_openapi_3_0

pytestmark = pytest.mark.once  # imports nothing whose version differs between the stacks

SCHEMA = arguments_schema()
VALID = Draft202012Validator(SCHEMA, format_checker=FormatChecker())
EVERY_FIELD = [*FIELDS, *PREVIEW_FIELDS]
JSON_NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
SCALARS = st.none() | st.booleans() | JSON_NUMBERS | st.text()
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4), max_leaves=8
)


def near(spec: Field) -> st.SearchStrategy[Any]:
    """Values of JSON that are often allowed, or nearly."""
    edges = [bound for bound in (spec.minimum, spec.maximum) if math.isfinite(bound)]
    around = [edge + step for edge in edges for step in (-1, -0.5, 0, 0.5, 1)]
    whole = [int(value) for value in around if value == int(value)]
    named = [*spec.choices, *(choice.upper() for choice in spec.choices), "all", "same", "None", "true", "1", ""]
    inside = st.floats(min(edges), max(edges)) if len(edges) == 2 else JSON_NUMBERS
    return JSON | st.sampled_from([*around, *whole, *named, 0, 1, True, False, None]) | st.lists(inside) | inside


def defaults(spec: Field) -> Any:
    return {**asdict(Options()), **asdict(PreviewOptions())}[spec.name]


def validator(spec: Field) -> Draft202012Validator:
    return Draft202012Validator(field_schema(spec, defaults(spec)))


def as_json(spec: Field, value: Any) -> Any:
    return "all" if spec.kind == "frames" and value is None else list(value) if isinstance(value, tuple) else value


def is_natural(spec: Field, value: Any) -> bool:
    """Whether a value is of the type that JSON has for this kind, and not one of the texts that infotexts hold."""
    kinds: dict[str, tuple[type, ...]] = {
        "flag": (bool,),
        "choice": (str,),
        "numbers": (list, type(None)),
        "frames": (list, str, type(None)),
        "number": (int, float),
        "whole": (int, float),
        "whole_or_null": (int, float, type(None)),
    }
    natural = isinstance(value, kinds.get(spec.kind, (str, type(None))))
    if isinstance(value, bool) and spec.kind != "flag":
        return False
    if spec.kind == "choice":
        return natural and value in spec.choices
    if spec.kind == "frames" and isinstance(value, str):
        return value == "all"
    return natural and not (isinstance(value, list) and any(isinstance(one, str) for one in value))


def accepted(spec: Field, value: Any) -> bool:
    try:
        parse_value(spec, value)
    except DiversityError:
        return False
    return True


def test_it_is_a_schema() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    assert json.loads(json.dumps(SCHEMA, allow_nan=False)) == SCHEMA


def test_every_option_has_its_entry_in_the_order_of_the_fields() -> None:
    assert list(SCHEMA["properties"]) == [*(spec.api_key for spec in FIELDS), PREVIEW]
    preview = SCHEMA["properties"][PREVIEW]["anyOf"][1]
    assert list(preview["properties"]) == [spec.api_key for spec in PREVIEW_FIELDS]
    for properties, fields in ((SCHEMA["properties"], FIELDS), (preview["properties"], PREVIEW_FIELDS)):
        for spec in fields:
            entry = properties[spec.api_key]
            assert (entry["title"], entry["description"]) == (spec.label, spec.tooltip)
            assert "type" in entry or "anyOf" in entry
    assert SCHEMA["additionalProperties"] is preview["additionalProperties"] is False


def test_defaults_are_what_a_dict_without_the_key_means() -> None:
    told = {key: entry["default"] for key, entry in SCHEMA["properties"].items()}
    assert Arguments.read([told]) == Arguments.read([{}])
    preview = SCHEMA["properties"][PREVIEW]["anyOf"][1]["properties"]
    told = {PREVIEW: {key: entry["default"] for key, entry in preview.items()}}
    assert Arguments.read([told]) == Arguments.read([{PREVIEW: {}}])
    assert VALID.is_valid(told)


def test_every_number_has_bounds() -> None:
    """Else what a double cannot hold would be valid and yet refused."""
    for spec in EVERY_FIELD:
        if spec.kind in ("whole", "whole_or_null", "number", "numbers"):
            assert math.isfinite(spec.minimum), spec.name
            assert math.isfinite(spec.maximum), spec.name


def test_the_positions_are_those_of_the_script() -> None:
    assert SCHEMA["positions"] == list(POSITIONS)


@pytest.mark.parametrize("spec", EVERY_FIELD, ids=lambda spec: spec.name)
@given(data=st.data())
@settings(max_examples=50)
def test_what_is_valid_is_accepted(spec: Field, data: st.DataObject) -> None:
    value = data.draw(near(spec))
    if validator(spec).is_valid(value):
        assert accepted(spec, value)


@pytest.mark.parametrize("spec", EVERY_FIELD, ids=lambda spec: spec.name)
@given(data=st.data())
@settings(max_examples=50)
def test_what_is_accepted_is_valid(spec: Field, data: st.DataObject) -> None:
    """As it was sent where it is of JSON's own type, and as it was understood in any case."""
    value = data.draw(near(spec))
    if accepted(spec, value):
        assert validator(spec).is_valid(as_json(spec, parse_value(spec, value)))
        assert validator(spec).is_valid(value) or not is_natural(spec, value)


@given(data=st.data())
def test_whole_dicts(data: st.DataObject) -> None:
    optional = {spec.api_key: near(spec) for spec in FIELDS}
    preview = st.fixed_dictionaries({}, optional={spec.api_key: near(spec) for spec in PREVIEW_FIELDS})
    asked = data.draw(st.fixed_dictionaries({}, optional={**optional, PREVIEW: st.booleans() | preview | SCALARS}))
    if VALID.is_valid(asked):
        Arguments.read([asked])


@pytest.mark.parametrize("wrong", [{"swich_step": 1}, {PREVIEW: {"evry": 1}}, {PREVIEW: 1}, {PREVIEW: "yes"}, []])
def test_what_neither_accepts(wrong: Any) -> None:
    assert not VALID.is_valid(wrong)
    if isinstance(wrong, dict):
        with pytest.raises(DiversityError):
            Arguments.read([wrong])


def test_openapi_3_0_has_no_null() -> None:
    turned = for_openapi_3_0(SCHEMA)
    assert '"null"' not in json.dumps(turned)
    assert for_openapi_3_0({"anyOf": [{"type": "integer"}, {"type": "null"}], "title": "N"}) == {
        "title": "N",
        "type": "integer",
        "nullable": True,
    }


def test_a_choice_that_may_be_null_names_null() -> None:
    """As OpenAPI 3.0.3 wants it: `nullable` alone does not let null past `enum`."""
    choice = {"anyOf": [{"type": "string", "enum": ["a", "b"]}, {"type": "null"}]}
    assert for_openapi_3_0(choice) == {"type": "string", "enum": ["a", "b", None], "nullable": True}
