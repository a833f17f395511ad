"""What API clients may send, as JSON schema (draft 2020-12), made from the arguments' fields. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any, cast

from extension_core.options.fields import Field
from extension_core.options.hybrid import FIELDS
from extension_core.options.positions import POSITIONS, PREVIEW, Arguments
from extension_core.options.preview import PREVIEW_FIELDS

DIALECT = "https://json-schema.org/draft/2020-12/schema"
NULL = {"type": "null"}
Schema = dict[str, Any]


def arguments_schema() -> Schema:
    """The schema of the one dict that clients send as `args[0]`, and the order of values sent by position instead."""
    sent = Arguments.read([{PREVIEW: {}}])
    preview = object_schema(PREVIEW_FIELDS, asdict(sent.preview))
    described = object_schema(FIELDS, asdict(sent.options))
    described["properties"][PREVIEW] = {
        "title": "DT-preview",
        "description": "What becomes of the frames; true is short for recording alone.",
        "default": False,
        "anyOf": [{"type": "boolean"}, preview],
    }
    return {
        "$schema": DIALECT,
        "title": "Diversity Distillation",
        "description": "Everything a request may ask of the extension; every key may be left out.",
        **described,
        "positions": list(POSITIONS),
    }


def object_schema(fields: Iterable[Field], defaults: Mapping[str, Any]) -> Schema:
    """The schema of a dict with these keys, each of which may be left out.

    Args:
        defaults: by the fields' names.
    """
    properties = {spec.api_key: field_schema(spec, defaults[spec.name]) for spec in fields}
    return {"type": "object", "properties": properties, "additionalProperties": False}


def field_schema(spec: Field, default: Any) -> Schema:
    """The schema of one argument in JSON's own types; the strings that infotexts hold are accepted besides."""
    return {"title": spec.label, "description": spec.tooltip, "default": _as_json(spec, default), **_values(spec)}


def _values(spec: Field) -> Schema:
    if spec.kind == "flag":
        return {"type": "boolean"}
    if spec.kind == "choice":
        return {"type": "string", "enum": list(spec.choices)}
    if spec.kind == "frames":
        numbers = {"type": "array", "items": {"type": "integer"}}
        return {"anyOf": [{"type": "string", "enum": ["all"]}, numbers, NULL]}
    if spec.kind == "numbers":
        return {"anyOf": [{"type": "array", "items": {"type": "number", **_bounds(spec)}}, NULL]}
    if spec.kind == "number":
        return {"type": "number", **_bounds(spec)}
    if spec.kind == "whole":
        return {"type": "integer", **_bounds(spec)}
    if spec.kind == "whole_or_null":
        return {"anyOf": [{"type": "integer", **_bounds(spec)}, NULL]}
    return {"anyOf": [{"type": "string"}, NULL]}


def _bounds(spec: Field) -> Schema:
    bounds = {"minimum": spec.minimum, "maximum": spec.maximum}
    return {
        name: int(bound) if bound == int(bound) else bound for name, bound in bounds.items() if math.isfinite(bound)
    }


def _as_json(spec: Field, default: Any) -> Any:
    if spec.kind == "frames" and default is None:
        return "all"
    return list(cast("tuple[Any, ...]", default)) if isinstance(default, tuple) else default


def for_openapi_3_0(schema: object) -> Any:
    """A schema as OpenAPI 3.0 writes it, which has no type `null` but says `nullable` beside another type."""
    if isinstance(schema, list):
        return [for_openapi_3_0(item) for item in cast("list[Any]", schema)]
    if not isinstance(schema, dict):
        return schema
    turned = {key: for_openapi_3_0(value) for key, value in cast("dict[str, Any]", schema).items()}
    kinds: list[dict[str, Any]] = turned.get("anyOf", [])
    if NULL not in kinds:
        return turned
    rest = [_nullable(kind) for kind in kinds if kind != NULL]
    if len(rest) > 1:
        return {**turned, "anyOf": rest}
    del turned["anyOf"]
    return {**turned, **rest[0]}


def _nullable(schema: dict[str, Any]) -> dict[str, Any]:
    """A choice among values must name null as well (OpenAPI 3.0.3, "nullable")."""
    choices = {"enum": [*schema["enum"], None]} if "enum" in schema else {}
    return {**schema, **choices, "nullable": True}
